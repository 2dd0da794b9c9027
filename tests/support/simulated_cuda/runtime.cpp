// The CUDA runtime as CuPy's extension modules see it: functions that __init__.py puts in the place of those of
// cupy_backends.cuda.api.runtime, whose names (after `runtime_`) and C signatures they have. The last int of each is
// Cython's, which asks whether a subclass may override it.

#include <cstring>

#include "device.h"

using namespace simulated_cuda;

struct PyObject;
extern "C" {  // Python's, which has loaded this library
PyObject* PyObject_CallFunction(PyObject*, const char*, ...);
PyObject* PyObject_CallObject(PyObject*, PyObject*);
PyObject* PyTuple_GetItem(PyObject*, ptrdiff_t);
PyObject* Py_BuildValue(const char*, ...);
void Py_IncRef(PyObject*);
void Py_DecRef(PyObject*);
void PyErr_WriteUnraisable(PyObject*);
int PyGILState_Ensure();
void PyGILState_Release(int);
}

namespace {

PyObject* (*check_status)(int, int) = nullptr;  // CuPy's: raises CUDARuntimeError
PyObject* pointer_attributes = nullptr;         // the class

PyObject* raised_or_none(int status) { return check_status(status, 0); }

// The value, or an exception and `failed`, at which the caller looks for one.
template <typename Value>
Value checked(int status, Value value, Value failed) {
    if (status == kSuccess) return value;
    Py_DecRef(check_status(status, 0));
    return failed;
}

Event* event_of(intptr_t handle) { return (Event*)handle; }

// Calls function(argument) of Python's tuple (function, argument), when the stream gets there.
void queue_call(const std::shared_ptr<Stream>& stream, PyObject* function, PyObject* arguments) {
    Py_IncRef(function);
    Py_IncRef(arguments);  // both for good: a graph may call again and again
    queue_work(stream, [=] {
        const int state = PyGILState_Ensure();
        PyObject* result = PyObject_CallObject(function, arguments);
        if (result)
            Py_DecRef(result);
        else
            PyErr_WriteUnraisable(function);
        PyGILState_Release(state);
    });
}

}  // namespace

// Before any other: CuPy's own check_status, and its class PointerAttributes.
API void simulated_cuda_connect(void* check, PyObject* attributes_class) {
    check_status = (PyObject * (*)(int, int)) check;
    pointer_attributes = attributes_class;
}

API PyObject* runtime__ensure_context() { return raised_or_none(kSuccess); }

API int runtime_runtimeGetVersion(int) { return 13000; }
API int runtime_driverGetVersion(int) { return 13000; }
API int runtime__getCUDAMajorVersion(int) { return 13; }

// ---- Devices

API int runtime_getDeviceCount(int) { return kDevices; }
API int runtime_getDevice(int) { return current_device; }

API PyObject* runtime_setDevice(int device, int) {
    if (device < 0 || device >= kDevices) return raised_or_none(kInvalidDevice);
    current_device = device;
    return raised_or_none(kSuccess);
}

API int runtime_deviceGetAttribute(int attribute, int, int) { return attribute_of_device(attribute); }
API PyObject* runtime_getDeviceProperties(int, int) {
    return Py_BuildValue("{s:y,s:i,s:i,s:i,s:i,s:i,s:n}", "name", "simulated",
                         "major", attribute_of_device(75),
                         "minor", attribute_of_device(76),
                         "warpSize", attribute_of_device(10),
                         "multiProcessorCount", attribute_of_device(16),
                         "maxThreadsPerBlock", attribute_of_device(1),
                         "totalGlobalMem", kDeviceMemory);
}

API int runtime_deviceCanAccessPeer(int, int, int) { return 0; }

API PyObject* runtime_deviceSynchronize(int) {
    const Lock lock;
    return raised_or_none(wait_for_device());
}

// ---- Memory

API PyObject* runtime_memGetInfo(int) {
    const Lock lock;
    return Py_BuildValue("nn", kDeviceMemory - memory_taken(current_device), kDeviceMemory);
}

API intptr_t runtime_malloc(size_t size, int) {
    const Lock lock;
    void* place = nullptr;
    const int status = allocate(&place, size, current_device);
    return checked<intptr_t>(status, (intptr_t)place, 0);
}

API intptr_t runtime_hostAlloc(size_t size, unsigned, int) {
    const Lock lock;
    void* place = nullptr;
    const int status = allocate(&place, size, -1);
    return checked<intptr_t>(status, (intptr_t)place, 0);
}

API PyObject* runtime_free(intptr_t memory, int) {
    const Lock lock;
    return raised_or_none(release((void*)memory));
}

API PyObject* runtime_freeHost(intptr_t memory, int) {
    const Lock lock;
    return raised_or_none(release((void*)memory));
}

API PyObject* runtime_memcpy(intptr_t to, intptr_t from, size_t size, int kind, int) {
    const Lock lock;
    const auto stream = legacy_stream();
    const int status = copy((void*)to, (const void*)from, size, kind, stream);
    return raised_or_none(status ? status : wait_on_host(stream));
}

API PyObject* runtime_memcpyAsync(intptr_t to, intptr_t from, size_t size, int kind, intptr_t stream, int) {
    const Lock lock;
    return raised_or_none(copy((void*)to, (const void*)from, size, kind, stream_of(stream)));
}

API PyObject* runtime_memcpyPeer(intptr_t to, int, intptr_t from, int, size_t size, int) {
    const Lock lock;
    const auto stream = legacy_stream();
    const int status = copy((void*)to, (const void*)from, size, 3, stream);
    return raised_or_none(status ? status : wait_on_host(stream));
}

API PyObject* runtime_memcpyPeerAsync(intptr_t to, int, intptr_t from, int, size_t size, intptr_t stream, int) {
    const Lock lock;
    return raised_or_none(copy((void*)to, (const void*)from, size, 3, stream_of(stream)));
}

API PyObject* runtime_memset(intptr_t to, int value, size_t size, int) {
    const Lock lock;
    return raised_or_none(fill((void*)to, value, size, legacy_stream()));
}

API PyObject* runtime_memsetAsync(intptr_t to, int value, size_t size, intptr_t stream, int) {
    const Lock lock;
    return raised_or_none(fill((void*)to, value, size, stream_of(stream)));
}

API PyObject* runtime_pointerGetAttributes(intptr_t address, int) {
    const Lock lock;
    const Allocation* found = allocation_of((const void*)address);
    const int type = !found ? 0 : found->device < 0 ? 1 : 2;  // unregistered, the host's, the device's
    const int device = type == 2 ? found->device : type == 1 ? 0 : -2;
    return PyObject_CallFunction(pointer_attributes, "inni", device, type == 0 ? (intptr_t)0 : address, address, type);
}

API int runtime_pointerGetMemoryType(intptr_t address, int) {
    const Lock lock;
    const Allocation* found = allocation_of((const void*)address);
    return !found ? 0 : found->device < 0 ? 1 : 2;
}

// ---- Streams and events

API intptr_t runtime_streamCreate(int) {
    const Lock lock;
    return create_stream(true);
}

API intptr_t runtime_streamCreateWithFlags(unsigned flags, int) {
    const Lock lock;
    return create_stream(!(flags & 1));
}

API intptr_t runtime_streamCreateWithPriority(unsigned flags, int, int) {
    return runtime_streamCreateWithFlags(flags, 0);
}

API PyObject* runtime_streamDestroy(intptr_t stream, int) {
    const Lock lock;
    return raised_or_none(destroy_stream(stream));
}

API PyObject* runtime_streamSynchronize(intptr_t stream, int) {
    const Lock lock;
    return raised_or_none(wait_on_host(stream_of(stream)));
}

API PyObject* runtime_streamQuery(intptr_t handle, int) {
    const Lock lock;
    const auto stream = stream_of(handle);
    return Py_BuildValue("i", stream ? query(stream, stream->queued) : (int)kInvalidHandle);
}

API unsigned runtime_streamGetFlags(intptr_t handle, int) {
    const Lock lock;
    const auto stream = stream_of(handle);
    return checked<unsigned>(stream ? kSuccess : kInvalidHandle, stream && !stream->waits_for_legacy, 0);
}

API int runtime_streamGetPriority(intptr_t, int) { return 0; }

struct WaitOptions {  // how Cython passes optional arguments
    int count;
    unsigned flags;
};

API PyObject* runtime_streamWaitEvent(intptr_t handle, intptr_t event, int, WaitOptions*) {
    const Lock lock;
    const auto stream = stream_of(handle);
    return raised_or_none(stream ? wait_for_event(stream, *event_of(event)) : (int)kInvalidHandle);
}

API PyObject* runtime_launchHostFunc(intptr_t handle, PyObject* function, intptr_t argument, int) {
    const Lock lock;
    const auto stream = stream_of(handle);
    if (!stream) return raised_or_none(kInvalidHandle);
    PyObject* arguments = Py_BuildValue("(n)", argument);
    queue_call(stream, function, arguments);
    Py_DecRef(arguments);
    return raised_or_none(kSuccess);
}

API PyObject* runtime__launchHostFuncUnmanaged(intptr_t handle, PyObject* call, int) {
    const Lock lock;
    const auto stream = stream_of(handle);
    if (!stream) return raised_or_none(kInvalidHandle);
    PyObject* arguments = Py_BuildValue("(O)", PyTuple_GetItem(call, 1));
    queue_call(stream, PyTuple_GetItem(call, 0), arguments);
    Py_DecRef(arguments);
    return raised_or_none(kSuccess);
}

API intptr_t runtime_eventCreate(int) { return (intptr_t) new Event; }
API intptr_t runtime_eventCreateWithFlags(unsigned, int) { return (intptr_t) new Event; }

API PyObject* runtime_eventDestroy(intptr_t event, int) {
    delete event_of(event);
    return raised_or_none(kSuccess);
}

API PyObject* runtime_eventRecord(intptr_t event, intptr_t handle, int) {
    const Lock lock;
    const auto stream = stream_of(handle);
    if (!stream) return raised_or_none(kInvalidHandle);
    if (!stream->capture) queue_work(stream, [] {});  // after the streams that it waits for
    *event_of(event) = {stream, stream->queued, stream->capture};
    return raised_or_none(kSuccess);
}

API PyObject* runtime_eventSynchronize(intptr_t handle, int) {
    const Lock lock;
    const Event event = *event_of(handle);
    if (event.captured) return raised_or_none(kCaptureUnsupported);
    if (event.stream) run_until(event.stream, event.position);
    return raised_or_none(kSuccess);
}

API PyObject* runtime_eventQuery(intptr_t handle, int) {
    const Lock lock;
    const Event event = *event_of(handle);
    if (event.captured) return Py_BuildValue("i", kCaptureUnsupported);
    return Py_BuildValue("i", event.stream ? query(event.stream, event.position) : (int)kSuccess);
}

API float runtime_eventElapsedTime(intptr_t, intptr_t, int) { return 1.0f; }  // milliseconds; nothing is measured

// ---- Graphs

struct CaptureOptions {
    int count, mode;
};

API PyObject* runtime_streamBeginCapture(intptr_t stream, int, CaptureOptions*) {
    const Lock lock;
    return raised_or_none(begin_capture(stream_of(stream)));
}

API intptr_t runtime_streamEndCapture(intptr_t stream, int) {
    const Lock lock;
    intptr_t graph = 0;
    const int status = end_capture(stream_of(stream), &graph);
    return checked<intptr_t>(status, graph, 0);
}

API int runtime_streamIsCapturing(intptr_t handle, int) {
    const Lock lock;
    const auto stream = stream_of(handle);
    if (!stream) return checked(kInvalidHandle, 0, -1);
    return !stream->capture ? 0 : stream->capture->is_invalid ? 2 : 1;
}

API intptr_t runtime_graphInstantiate(intptr_t graph, int) {
    const Lock lock;
    intptr_t executable = 0;
    const int status = instantiate(graph, &executable);
    return checked<intptr_t>(status, executable, 0);
}

API PyObject* runtime_graphUpload(intptr_t, intptr_t, int) { return raised_or_none(kSuccess); }

API PyObject* runtime_graphLaunch(intptr_t executable, intptr_t stream, int) {
    const Lock lock;
    return raised_or_none(launch_graph(executable, stream_of(stream)));
}

API PyObject* runtime_graphDestroy(intptr_t graph, int) {
    const Lock lock;
    return raised_or_none(destroy_graph(graph));
}

API PyObject* runtime_graphExecDestroy(intptr_t executable, int) { return runtime_graphDestroy(executable, 0); }
