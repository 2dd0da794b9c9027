// The simulated device: memory, streams, events, graphs and kernels, for the two doors to it, driver.cpp and
// runtime.cpp.
//
// A stream runs what is queued on it when something waits for it and not before, so that a missing wait shows. Types
// are spelt out: no header of CUDA's is needed. See __init__.py for what this can show and what not.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "launch.h"

#define API extern "C" __attribute__((visibility("default")))

namespace simulated_cuda {

// Numbers of CUresult and cudaError_t, which agree in these.
enum Status {
    kSuccess = 0,
    kInvalidValue = 1,
    kOutOfMemory = 2,
    kInvalidDevice = 101,
    kInvalidImage = 200,
    kInvalidHandle = 400,
    kNotFound = 500,
    kNotReady = 600,
    kIllegalAddress = 700,
    kNotPermitted = 800,
    kCaptureUnsupported = 900,
    kCaptureInvalidated = 901,
};

constexpr int kDevices = 2;  // so that a test can mix them up
constexpr size_t kDeviceMemory = (size_t)8 << 30;

using Work = std::function<void()>;

struct Stream;

// What a captured stream would have done, in the order in which it was queued.
struct Graph {
    std::vector<Work> work;
    Stream* origin = nullptr;
    std::vector<std::shared_ptr<Stream>> joined;  // streams whose work is captured too
    bool is_invalid = false;
};

struct Stream {
    int device = 0;
    bool waits_for_legacy = true;  // false: cudaStreamNonBlocking
    bool is_destroyed = false;     // what was queued on it is still to run
    bool runs_early = false;       // as soon as something is queued, instead of when something waits
    std::deque<Work> queue;
    uint64_t queued = 0, done = 0, asked = 0;
    std::shared_ptr<Graph> capture;
};

// A place in a stream's queue: everything before it has run once `position` pieces of work have.
struct Event {
    std::shared_ptr<Stream> stream;
    uint64_t position = 0;
    std::shared_ptr<Graph> captured;  // the graph that was captured when it was recorded
};

struct Allocation {
    uintptr_t address;
    size_t size;
    int device;  // -1: pinned memory of the host
};

// Held by every call. A thread that must wait for it lets go of Python's lock first: the one that has it may run a
// function of Python's.
class Lock {
public:
    Lock();
    ~Lock();
    Lock(const Lock&) = delete;
};

extern thread_local int current_device;
extern bool runs_backwards;  // whether the threads of a launch run from the last to the first

int attribute_of_device(int attribute);

// The stream of a handle, null if there is none; 0, 1 and 2 are the legacy default stream of the current device.
std::shared_ptr<Stream> stream_of(intptr_t handle);
std::shared_ptr<Stream> legacy_stream();
intptr_t create_stream(bool waits_for_legacy);
int destroy_stream(intptr_t handle);

// Adds work as CUDA orders it, or to the graph that is captured.
void queue_work(const std::shared_ptr<Stream>& stream, Work work);
void run_until(const std::shared_ptr<Stream>& stream, uint64_t position);
void run_device(int device);
// Lets the host wait; while the stream is captured that is refused and spoils the capture.
int wait_on_host(const std::shared_ptr<Stream>& stream);
int wait_for_device();
// Whether everything before a position has run. Asking does not make it run, but for every 64th time: a loop that asks
// is to end.
int query(const std::shared_ptr<Stream>& stream, uint64_t position);
int wait_for_event(const std::shared_ptr<Stream>& stream, const Event& event);

// Null where an address is neither the device's nor pinned.
const Allocation* allocation_of(const void* address);
size_t memory_taken(int device);
int allocate(void** place, size_t size, int device);
int release(void* memory);
// kind is cudaMemcpyKind's: 1 host to device, 2 device to host, 3 within a device, 4 by the addresses.
int copy(void* to, const void* from, size_t size, int kind, const std::shared_ptr<Stream>& stream);
int fill(void* to, int value, size_t size, const std::shared_ptr<Stream>& stream);

int begin_capture(const std::shared_ptr<Stream>& stream);
int end_capture(const std::shared_ptr<Stream>& stream, intptr_t* graph);
int instantiate(intptr_t graph, intptr_t* executable);
int launch_graph(intptr_t executable, const std::shared_ptr<Stream>& stream);
int destroy_graph(intptr_t graph);

}  // namespace simulated_cuda
