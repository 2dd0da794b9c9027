// libcublas.so.13 with the products of matrices that CuPy's matmul asks for, of float32 and float64. The library's
// other functions, which build.py lists in functions.inc, answer "not supported" and name themselves.

#include <cstdio>

#include "device.h"

using namespace simulated_cuda;

namespace {

constexpr int kBlasSuccess = 0, kBlasNotSupported = 15;

struct Handle {
    intptr_t stream = 0;
};

struct Matrices {  // column by column, one behind the other; stride counts values
    const void* values;
    int leading;
    long long stride;
};

// C = alpha A B + beta C; the scalars are the host's.
template <typename Value>
int multiply(Handle* handle, int transpose_a, int transpose_b, int m, int n, int k, const Value* alpha, Matrices a,
             Matrices b, const Value* beta, Matrices c, int batch) {
    const Lock lock;
    const auto stream = stream_of(handle->stream);
    if (!stream || transpose_a > 1 || transpose_b > 1) return kBlasNotSupported;
    queue_work(stream, [=, alpha = *alpha, beta = *beta] {
        for (int at = 0; at < batch; ++at) {
            const Value* left = (const Value*)a.values + at * a.stride;
            const Value* right = (const Value*)b.values + at * b.stride;
            Value* out = (Value*)c.values + at * c.stride;
            for (int column = 0; column < n; ++column)
                for (int row = 0; row < m; ++row) {
                    Value sum = 0;
                    for (int i = 0; i < k; ++i)
                        sum += left[transpose_a ? i + (size_t)row * a.leading : row + (size_t)i * a.leading] *
                               right[transpose_b ? column + (size_t)i * b.leading : i + (size_t)column * b.leading];
                    Value& value = out[row + (size_t)column * c.leading];
                    value = alpha * sum + (beta == 0 ? 0 : beta * value);  // with 0, what was there may be NaN
                }
        }
    });
    return kBlasSuccess;
}

}  // namespace

API int not_simulated(const char* name) {
    std::fprintf(stderr, "simulated CUDA device: %s is not simulated\n", name);
    return kBlasNotSupported;
}

API int cublasCreate_v2(Handle** handle) {
    *handle = new Handle;
    return kBlasSuccess;
}

API int cublasDestroy_v2(Handle* handle) {
    delete handle;
    return kBlasSuccess;
}

API int cublasSetStream_v2(Handle* handle, intptr_t stream) {
    handle->stream = stream;
    return kBlasSuccess;
}

API int cublasGetStream_v2(Handle* handle, intptr_t* stream) {
    *stream = handle->stream;
    return kBlasSuccess;
}

API int cublasGetVersion_v2(Handle*, int* version) {
    *version = 130000;
    return kBlasSuccess;
}

API int cublasSetMathMode(Handle*, int) { return kBlasSuccess; }
API int cublasGetMathMode(Handle*, int* mode) { return *mode = 0; }
API int cublasSetPointerMode_v2(Handle*, int mode) { return mode == 0 ? kBlasSuccess : kBlasNotSupported; }
API int cublasGetPointerMode_v2(Handle*, int* mode) { return *mode = 0; }

#define PRODUCTS(letter, type)                                                                                         \
    API int cublas##letter##gemm_v2(Handle* h, int ta, int tb, int m, int n, int k, const type* alpha, const type* a,  \
                                    int lda, const type* b, int ldb, const type* beta, type* c, int ldc) {             \
        return multiply<type>(h, ta, tb, m, n, k, alpha, {a, lda, 0}, {b, ldb, 0}, beta, {c, ldc, 0}, 1);              \
    }                                                                                                                  \
    API int cublas##letter##gemmStridedBatched(Handle* h, int ta, int tb, int m, int n, int k, const type* alpha,      \
                                               const type* a, int lda, long long sa, const type* b, int ldb,           \
                                               long long sb, const type* beta, type* c, int ldc, long long sc,         \
                                               int batch) {                                                            \
        return multiply<type>(h, ta, tb, m, n, k, alpha, {a, lda, sa}, {b, ldb, sb}, beta, {c, ldc, sc}, batch);       \
    }
PRODUCTS(S, float)
PRODUCTS(D, double)

// The numbers of a type are cudaDataType's: 0 float32, 1 float64.
API int cublasGemmStridedBatchedEx(Handle* h, int ta, int tb, int m, int n, int k, const void* alpha, const void* a,
                                   int type_a, int lda, long long sa, const void* b, int type_b, int ldb, long long sb,
                                   const void* beta, void* c, int type_c, int ldc, long long sc, int batch, int, int) {
    const Matrices left{a, lda, sa}, right{b, ldb, sb}, out{c, ldc, sc};
    if (type_a != type_b || type_a != type_c || type_a > 1) return not_simulated("a product of other numbers");
    if (type_a == 0)
        return multiply<float>(h, ta, tb, m, n, k, (const float*)alpha, left, right, (const float*)beta, out, batch);
    return multiply<double>(h, ta, tb, m, n, k, (const double*)alpha, left, right, (const double*)beta, out, batch);
}

API int cublasGemmEx(Handle* h, int ta, int tb, int m, int n, int k, const void* alpha, const void* a, int type_a,
                     int lda, const void* b, int type_b, int ldb, const void* beta, void* c, int type_c, int ldc,
                     int compute, int algorithm) {
    return cublasGemmStridedBatchedEx(h, ta, tb, m, n, k, alpha, a, type_a, lda, 0, b, type_b, ldb, 0, beta, c, type_c,
                                      ldc, 0, 1, compute, algorithm);
}

#include "functions.inc"
