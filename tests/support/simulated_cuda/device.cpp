#include "device.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>

extern "C" {  // Python's, which has loaded this library
int PyGILState_Check();
void* PyEval_SaveThread();
void PyEval_RestoreThread(void*);
}

namespace simulated_cuda {

thread_local int current_device = 0;
bool runs_backwards = false;

namespace {

std::recursive_mutex mutex;
std::map<intptr_t, std::shared_ptr<Stream>> streams;
std::map<uintptr_t, Allocation> allocations;
std::map<intptr_t, std::shared_ptr<Graph>> graphs;

std::shared_ptr<Stream> legacy_of(int device) {
    static std::shared_ptr<Stream> legacy[kDevices];
    if (!legacy[device]) {
        legacy[device] = std::make_shared<Stream>();
        legacy[device]->device = device;
    }
    return legacy[device];
}

void append(const std::shared_ptr<Stream>& stream, Work work) {
    stream->queue.push_back(std::move(work));
    ++stream->queued;
}

void append_wait(const std::shared_ptr<Stream>& stream, const std::shared_ptr<Stream>& other, uint64_t position) {
    if (other->done < position) append(stream, [=] { run_until(other, position); });
}

int complain(const char* what) {
    std::fprintf(stderr, "simulated CUDA device: %s\n", what);
    return kIllegalAddress;
}

bool is_device_memory(const void* address, size_t size) {
    const Allocation* found = allocation_of(address);
    return found && found->device >= 0 && (uintptr_t)address + size <= found->address + found->size;
}

}  // namespace

Lock::Lock() {
    if (mutex.try_lock()) return;
    void* python = PyGILState_Check() ? PyEval_SaveThread() : nullptr;
    mutex.lock();
    if (python) PyEval_RestoreThread(python);
}

Lock::~Lock() { mutex.unlock(); }

// The numbers are CUdevice_attribute's and cudaDeviceAttr's.
int attribute_of_device(int attribute) {
    switch (attribute) {
        case 1: case 2: case 3: return 1024;  // threads of a block, along x and y
        case 4: return 64;                    // along z
        case 5: return 0x7fffffff;            // blocks of a grid along x
        case 6: case 7: return 65535;         // along y and z
        case 8: case 97: return 48 << 10;     // bytes of shared memory of a block, and with consent
        case 10: return 32;                   // threads of a warp
        case 16: return 4;                    // multiprocessors
        case 39: return 2048;                 // threads of a multiprocessor
        case 41: return 1;                    // the host's addresses are the device's
        case 75: return 9;                    // compute capability 9.0
        default: return 0;
    }
}

std::shared_ptr<Stream> stream_of(intptr_t handle) {
    if (handle >= 0 && handle <= 2) return legacy_of(current_device);
    const auto found = streams.find(handle);
    return found == streams.end() || found->second->is_destroyed ? nullptr : found->second;
}

std::shared_ptr<Stream> legacy_stream() { return legacy_of(current_device); }

intptr_t create_stream(bool waits_for_legacy) {
    auto stream = std::make_shared<Stream>();
    stream->device = current_device;
    stream->waits_for_legacy = waits_for_legacy;
    const auto handle = (intptr_t)stream.get();
    streams[handle] = std::move(stream);
    return handle;
}

int destroy_stream(intptr_t handle) {
    const auto stream = stream_of(handle);
    if (!stream || stream == legacy_of(stream->device)) return kInvalidHandle;
    if (stream->done == stream->queued)
        streams.erase(handle);
    else
        stream->is_destroyed = true;
    return kSuccess;
}

void queue_work(const std::shared_ptr<Stream>& stream, Work work) {
    if (stream->capture) {
        stream->capture->work.push_back(std::move(work));
        return;
    }
    // The legacy default stream and the streams that wait for it take turns.
    const auto legacy = legacy_of(stream->device);
    if (stream == legacy) {
        for (const auto& [handle, other] : streams)
            if (other->device == stream->device && other->waits_for_legacy && !other->capture)
                append_wait(stream, other, other->queued);
    } else if (stream->waits_for_legacy) {
        append_wait(stream, legacy, legacy->queued);
    }
    append(stream, std::move(work));
    if (stream->runs_early) run_until(stream, stream->queued);
}

void run_until(const std::shared_ptr<Stream>& stream, uint64_t position) {
    while (stream->done < position && !stream->queue.empty()) {
        const Work work = std::move(stream->queue.front());
        stream->queue.pop_front();
        work();
        ++stream->done;
    }
}

void run_device(int device) {
    const auto waiting = streams;  // a host function may make or end a stream
    for (const auto& [handle, stream] : waiting) {
        if (stream->device == device) run_until(stream, stream->queued);
        if (stream->is_destroyed && stream->done == stream->queued) streams.erase(handle);
    }
    run_until(legacy_of(device), legacy_of(device)->queued);
}

int wait_on_host(const std::shared_ptr<Stream>& stream) {
    if (!stream) return kInvalidHandle;
    if (stream->capture) {
        stream->capture->is_invalid = true;
        return kCaptureUnsupported;
    }
    run_until(stream, stream->queued);
    return kSuccess;
}

int wait_for_device() {
    for (const auto& [handle, stream] : streams)
        if (stream->device == current_device && stream->capture) return wait_on_host(stream);
    run_device(current_device);
    return kSuccess;
}

int query(const std::shared_ptr<Stream>& stream, uint64_t position) {
    if (stream->done < position && ++stream->asked % 64 == 0) run_until(stream, stream->done + 1);
    return stream->done < position ? kNotReady : kSuccess;
}

int wait_for_event(const std::shared_ptr<Stream>& stream, const Event& event) {
    if (!event.stream) return kSuccess;
    if (event.captured) {  // a stream that waits for a captured one is captured with it, in the order of the calls
        if (stream->capture && stream->capture != event.captured) return kCaptureUnsupported;
        if (!stream->capture) {
            stream->capture = event.captured;
            event.captured->joined.push_back(stream);
        }
        return kSuccess;
    }
    if (stream->capture) {  // what was queued before the capture is not part of it
        stream->capture->is_invalid = true;
        return kCaptureUnsupported;
    }
    const auto other = event.stream;
    const uint64_t position = event.position;
    queue_work(stream, [=] { run_until(other, position); });
    return kSuccess;
}

const Allocation* allocation_of(const void* address) {
    auto after = allocations.upper_bound((uintptr_t)address);
    if (after == allocations.begin()) return nullptr;
    const Allocation& before = (--after)->second;
    return (uintptr_t)address < before.address + before.size ? &before : nullptr;
}

size_t memory_taken(int device) {
    size_t taken = 0;
    for (const auto& [address, allocation] : allocations)
        if (allocation.device == device) taken += allocation.size;
    return taken;
}

int allocate(void** place, size_t size, int device) {
    if (size == 0) return kInvalidValue;
    if (posix_memalign(place, 512, (size + 511) / 512 * 512)) return kOutOfMemory;
    std::memset(*place, 0xff, size);  // NaN: what nobody wrote is to be seen
    allocations[(uintptr_t)*place] = {(uintptr_t)*place, size, device};
    return kSuccess;
}

int release(void* memory) {
    if (!memory) return kSuccess;
    const auto found = allocations.find((uintptr_t)memory);
    if (found == allocations.end()) return kInvalidValue;
    if (found->second.device >= 0) run_device(found->second.device);  // cudaFree waits
    allocations.erase(found);
    std::free(memory);
    return kSuccess;
}

int copy(void* to, const void* from, size_t size, int kind, const std::shared_ptr<Stream>& stream) {
    if (!stream) return kInvalidHandle;
    if (size == 0) return kSuccess;
    if ((kind == 1 || kind == 3) && !is_device_memory(to, size))
        return complain("a copy to the device does not go to its memory");
    if ((kind == 2 || kind == 3) && !is_device_memory(from, size))
        return complain("a copy from the device does not come from its memory");
    if (allocation_of(from)) {
        queue_work(stream, [=] { std::memmove(to, from, size); });
    } else {  // memory that is not pinned has been read when the call returns
        const auto staged = std::make_shared<std::string>((const char*)from, size);
        queue_work(stream, [=] { std::memcpy(to, staged->data(), size); });
    }
    return allocation_of(to) ? (int)kSuccess : wait_on_host(stream);
}

int fill(void* to, int value, size_t size, const std::shared_ptr<Stream>& stream) {
    if (!stream) return kInvalidHandle;
    if (size && !is_device_memory(to, size)) return complain("memory is filled that is not the device's");
    queue_work(stream, [=] { std::memset(to, value, size); });
    return kSuccess;
}

int begin_capture(const std::shared_ptr<Stream>& stream) {
    if (!stream || stream == legacy_of(stream->device)) return kCaptureUnsupported;
    if (stream->capture) return kInvalidValue;
    stream->capture = std::make_shared<Graph>();
    stream->capture->origin = stream.get();
    return kSuccess;
}

int end_capture(const std::shared_ptr<Stream>& stream, intptr_t* graph) {
    if (!stream || !stream->capture || stream->capture->origin != stream.get()) return kInvalidValue;
    const auto captured = stream->capture;
    stream->capture = nullptr;
    for (const auto& joined : captured->joined) joined->capture = nullptr;
    captured->joined.clear();
    *graph = 0;
    if (captured->is_invalid) return kCaptureInvalidated;
    *graph = (intptr_t)captured.get();
    graphs[*graph] = captured;
    return kSuccess;
}

int instantiate(intptr_t graph, intptr_t* executable) {
    const auto found = graphs.find(graph);
    if (found == graphs.end()) return kInvalidValue;
    const auto copied = std::make_shared<Graph>(*found->second);
    *executable = (intptr_t)copied.get();
    graphs[*executable] = copied;
    return kSuccess;
}

int launch_graph(intptr_t executable, const std::shared_ptr<Stream>& stream) {
    const auto found = graphs.find(executable);
    if (!stream || found == graphs.end()) return kInvalidHandle;
    for (const Work& work : found->second->work) queue_work(stream, work);
    return kSuccess;
}

int destroy_graph(intptr_t graph) { return graphs.erase(graph) ? kSuccess : kInvalidValue; }

}  // namespace simulated_cuda

// For tests: whether later launches run their threads from the last to the first.
API void simulated_cuda_run_backwards(int yes) {
    const simulated_cuda::Lock lock;
    simulated_cuda::runs_backwards = yes != 0;
}

// For tests: whether a stream runs what is queued on it at once.
API int simulated_cuda_run_early(intptr_t handle, int yes) {
    const simulated_cuda::Lock lock;
    const auto stream = simulated_cuda::stream_of(handle);
    if (!stream) return simulated_cuda::kInvalidHandle;
    stream->runs_early = yes != 0;
    return simulated_cuda::kSuccess;
}
