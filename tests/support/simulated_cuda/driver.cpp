// The driver API as far as CuPy calls it directly (libcuda.so.1): modules, functions, launches.

#include <dlfcn.h>
#include <elf.h>
#include <unistd.h>
#include <xmmintrin.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "device.h"

using namespace simulated_cuda;

namespace {

struct Module {
    void* library;
};

struct Function {
    const Kernel* kernel;
    bool flushes_denormals;
    std::string name;
};

int contexts[kDevices];  // only their addresses matter

// A shared library ends with its table of sections; 0: not one for this processor.
size_t size_of_image(const void* image) {
    const auto* header = (const Elf64_Ehdr*)image;
    if (std::memcmp(header->e_ident, ELFMAG, SELFMAG) || header->e_machine != EM_X86_64) return 0;
    return header->e_shoff + (size_t)header->e_shnum * header->e_shentsize;
}

void run_kernel(const Function& function, const void* arguments, const Launch& launch) {
    const unsigned before = _mm_getcsr();
    if (function.flushes_denormals) _mm_setcsr(before | 0x8040);  // results and operands, as -ftz=true
    function.kernel->run(arguments, launch);
    _mm_setcsr(before);
}

bool is_known(const void* address) { return !address || allocation_of(address) != nullptr; }

}  // namespace

API int cuInit(unsigned) { return kSuccess; }

API int cuDriverGetVersion(int* version) {
    *version = 13000;
    return kSuccess;
}

API int cuDeviceGetCount(int* count) {
    *count = kDevices;
    return kSuccess;
}

API int cuDeviceGet(int* device, int ordinal) {
    *device = ordinal;
    return ordinal >= 0 && ordinal < kDevices ? kSuccess : kInvalidDevice;
}

API int cuDeviceGetAttribute(int* value, int attribute, int) {
    *value = attribute_of_device(attribute);
    return kSuccess;
}

API int cuCtxGetCurrent(void** context) {
    *context = &contexts[current_device];
    return kSuccess;
}

API int cuCtxSetCurrent(void* context) {
    const auto device = (int*)context - contexts;
    if (device < 0 || device >= kDevices) return kInvalidDevice;
    current_device = (int)device;
    return kSuccess;
}

API int cuCtxGetDevice(int* device) {
    *device = current_device;
    return kSuccess;
}

API int cuStreamGetCtx(void* handle, void** context) {
    const Lock lock;
    const auto stream = stream_of((intptr_t)handle);
    if (!stream) return kInvalidHandle;
    *context = &contexts[stream->device];
    return kSuccess;
}

API int cuModuleLoadData(Module** module, const void* image) {
    const size_t size = size_of_image(image);
    if (!size) return kInvalidImage;
    char path[] = "/tmp/simulated-kernel-XXXXXX";  // a new name each time: the loader knows libraries by name
    const int file = mkstemp(path);
    const bool is_written = file >= 0 && write(file, image, size) == (ssize_t)size;
    void* library = is_written ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : nullptr;
    if (file >= 0) close(file);
    unlink(path);
    if (!library) {
        std::fprintf(stderr, "simulated CUDA device: a kernel cannot be loaded: %s\n", is_written ? dlerror() : path);
        return kInvalidImage;
    }
    *module = new Module{library};
    return kSuccess;
}

API int cuModuleUnload(Module* module) {
    delete module;  // the library stays: launches of it may be queued
    return kSuccess;
}

API int cuModuleGetFunction(Function** function, Module* module, const char* name) {
    const auto kernel = (const Kernel*)dlsym(module->library, (std::string(name) + "_kernel").c_str());
    const auto flushes = (const bool*)dlsym(module->library, "simulated_cuda_flushes_denormals");
    if (!kernel || !flushes) return kNotFound;
    *function = new Function{kernel, *flushes, name};
    return kSuccess;
}

API int cuFuncGetAttribute(int* value, int attribute, Function*) {
    *value = attribute == 0 ? 1024 : 0;  // threads that a block may have
    return kSuccess;
}

API int cuFuncSetAttribute(Function*, int, int) { return kSuccess; }

API int cuOccupancyMaxPotentialBlockSize(int* grid, int* block, Function*, void*, size_t, int) {
    *grid = 4;
    *block = 256;
    return kSuccess;
}

API int cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, Function*, int, size_t) {
    *blocks = 2;
    return kSuccess;
}

API int cuLaunchKernel(Function* function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                       unsigned block_y, unsigned block_z, unsigned shared, void* handle, void** arguments,
                       void** extra) {
    const Lock lock;
    const auto stream = stream_of((intptr_t)handle);
    if (!stream) return kInvalidHandle;
    if (stream->device != current_device) return kInvalidHandle;
    const bool has_blocks = grid_x && grid_y && grid_z && grid_y <= 65535 && grid_z <= 65535;
    const bool has_threads = block_x && block_y && block_z && (uint64_t)block_x * block_y * block_z <= 1024;
    if (!has_blocks || !has_threads || shared || extra) return kInvalidValue;
    const Launch launch{{grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, runs_backwards};
    // Copied now: the caller's may be gone when the stream gets there.
    const std::shared_ptr<void> copied(function->kernel->copy(arguments, is_known), function->kernel->drop);
    if (!copied) {
        std::fprintf(stderr, "simulated CUDA device: %s was given an address that is no device's\n",
                     function->name.c_str());
        return kIllegalAddress;
    }
    const Function kept = *function;
    queue_work(stream, [kept, copied, launch] { run_kernel(kept, copied.get(), launch); });
    return kSuccess;
}

API int cuGetErrorName(int, const char** name) {
    *name = "CUDA_ERROR";
    return kSuccess;
}

API int cuGetErrorString(int status, const char** text) {
    static thread_local std::string said;
    said = "number " + std::to_string(status) + " of the simulated device";
    *text = said.c_str();
    return kSuccess;
}
