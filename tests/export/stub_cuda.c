/* A GPU that computes nothing, for tests of what ONNX Runtime's CUDA provider asks of one: memory is the host's,
 * copies are copies, kernels are no-ops. Every call is a line of the file $STUB_CUDA_LOG. What is not here
 * answers 0, from stubs that the test generates. Types are spelt out: the toolkit's headers are not needed. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void stub_log(const char *name)
{
    const char *path = getenv("STUB_CUDA_LOG");
    FILE *file = path ? fopen(path, "a") : NULL;
    if (!file) return;
    fprintf(file, "%s\n", name);
    fclose(file);
}

#define LOGGED stub_log(__func__)

static int give_memory(void **place, size_t size)
{
    return posix_memalign(place, 512, size ? size : 1) ? 2 : 0;
}

int cudaMalloc(void **place, size_t size) { LOGGED; return give_memory(place, size); }
int cudaMallocHost(void **place, size_t size) { LOGGED; return give_memory(place, size); }
int cudaHostAlloc(void **place, size_t size, unsigned flags) { LOGGED; return give_memory(place, size); }
int cudaFree(void *memory) { LOGGED; free(memory); return 0; }
int cudaFreeHost(void *memory) { LOGGED; free(memory); return 0; }
int cudaMemcpy(void *to, const void *from, size_t size, int kind) { LOGGED; memcpy(to, from, size); return 0; }
int cudaMemset(void *to, int value, size_t size) { LOGGED; memset(to, value, size); return 0; }

int cudaMemcpyAsync(void *to, const void *from, size_t size, int kind, void *stream)
{
    LOGGED;
    memcpy(to, from, size);
    return 0;
}

int cudaMemsetAsync(void *to, int value, size_t size, void *stream)
{
    LOGGED;
    memset(to, value, size);
    return 0;
}

int cudaMemGetInfo(size_t *free_bytes, size_t *all_bytes)
{
    *free_bytes = *all_bytes = (size_t)8 << 30;
    return 0;
}

int cudaGetDeviceCount(int *count) { *count = 1; return 0; }
int cudaGetDevice(int *device) { *device = 0; return 0; }
int cudaDriverGetVersion(int *version) { *version = 13000; return 0; }
int cudaRuntimeGetVersion(int *version) { *version = 13000; return 0; }

/* cudaDeviceProp of CUDA 13.0: 1008 bytes, of which these offsets are read. */
int cudaGetDeviceProperties(char *properties, int device)
{
    memset(properties, 0, 1008);
    strcpy(properties, "stub");
    *(size_t *)(properties + 288) = (size_t)8 << 30; /* totalGlobalMem */
    *(size_t *)(properties + 296) = 48 << 10;        /* sharedMemPerBlock */
    *(int *)(properties + 308) = 32;                 /* warpSize */
    *(int *)(properties + 320) = 1024;               /* maxThreadsPerBlock */
    for (int axis = 0; axis < 3; ++axis) {
        ((int *)(properties + 324))[axis] = 1024;    /* maxThreadsDim */
        ((int *)(properties + 336))[axis] = 65535;   /* maxGridSize */
    }
    *(int *)(properties + 360) = 9;                  /* major, minor stays 0 */
    *(int *)(properties + 384) = 132;                /* multiProcessorCount */
    return 0;
}

int cudaDeviceGetAttribute(int *value, int attribute, int device)
{
    *value = attribute == 75 ? 9 : attribute == 76 ? 0 : attribute == 16 ? 132 : 1024; /* 9.0, processors */
    return 0;
}

int cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
    int *blocks, const void *kernel, int threads, size_t shared, unsigned flags)
{
    *blocks = 2;
    return 0;
}

static int is_capturing;

#define MAKER(name) int name(void **handle) { LOGGED; *handle = malloc(64); return 0; }
MAKER(cudaStreamCreate)
MAKER(cudaStreamCreateWithFlags)
MAKER(cudaEventCreate)
MAKER(cudaEventCreateWithFlags)
MAKER(cudaGraphInstantiate)
MAKER(cublasCreate_v2)
MAKER(cublasLtCreate)
MAKER(cublasLtMatmulDescCreate)
MAKER(cublasLtMatmulPreferenceCreate)
MAKER(cublasLtMatrixLayoutCreate)

int cudaStreamBeginCapture(void *stream, int mode) { LOGGED; is_capturing = 1; return 0; }
int cudaStreamIsCapturing(void *stream, int *status) { *status = is_capturing; return 0; }

int cudaStreamEndCapture(void *stream, void **graph)
{
    LOGGED;
    is_capturing = 0;
    *graph = malloc(64);
    return 0;
}

const char *cudaGetErrorString(int status) { return "stub"; }
const char *cudaGetErrorName(int status) { return "stub"; }
const char *cublasGetStatusString(int status) { return "stub"; }
const char *cublasGetStatusName(int status) { return "stub"; }

/* What nvcc's compiled files call when they are loaded and before each kernel. */
void **__cudaRegisterFatBinary(void *binary) { return calloc(16, sizeof(void *)); }
void __cudaRegisterFatBinaryEnd(void **handle) {}
void __cudaUnregisterFatBinary(void **handle) {}
void __cudaRegisterFunction(void) {}
void __cudaRegisterVar(void) {}
int __cudaGetKernel(void **kernel, const void *function) { *kernel = (void *)function; return 0; }

int __cudaPopCallConfiguration(unsigned *grid, unsigned *block, size_t *shared, void **stream)
{
    for (int axis = 0; axis < 3; ++axis) grid[axis] = block[axis] = 1;
    *shared = 0;
    *stream = NULL;
    return 0;
}
