// One step of Adam, in place (Kingma and Ba 2015, Algorithm 1): each value is read and written once.
#include "launch_target.h"

// 1 - beta^step of each row, first and second moment; expm1f keeps the digits that 1.0f - powf(...) would cancel in the
// first steps. log_beta: of the two decays.
extern "C" __global__ void bias_corrections(const int* __restrict__ row_step, float* __restrict__ corrections, int rows,
                                            float log_beta1, float log_beta2) {
    FOR_EACH_INDEX(row, rows) {
        corrections[2 * row] = -expm1f(log_beta1 * (float)row_step[row]);
        corrections[2 * row + 1] = -expm1f(log_beta2 * (float)row_step[row]);
    }
}

// row_corrections and row_learning_rate stand in for correction1, correction2 and learning_rate where they are given.
extern "C" __global__ void adam_step(float* __restrict__ parameter, const float* __restrict__ gradient,
                                     float* __restrict__ first_moment, float* __restrict__ second_moment,
                                     const float* __restrict__ row_corrections,
                                     const float* __restrict__ row_learning_rate, long long rows,
                                     long long values_per_row, float correction1, float correction2,
                                     float learning_rate, float beta1, float beta2, float epsilon) {
    FOR_EACH_PIXEL(row, value, rows, values_per_row) {
        const long long i = row * values_per_row + value;
        const float rate = row_learning_rate ? row_learning_rate[row] : learning_rate;
        const bool stopped = rate == 0.0f;  // such a row stays as it is, whatever its gradient
        const float old_m = first_moment[i], old_v = second_moment[i], old = parameter[i], g = gradient[i];
        const float m = beta1 * old_m + (1.0f - beta1) * g;
        const float v = beta2 * old_v + (1.0f - beta2) * g * g;
        const float unbiased_m = m / (row_corrections ? row_corrections[2 * row] : correction1);
        const float unbiased_v = v / (row_corrections ? row_corrections[2 * row + 1] : correction2);
        first_moment[i] = stopped ? old_m : m;
        second_moment[i] = stopped ? old_v : v;
        parameter[i] = stopped ? old : old - rate * unbiased_m / (sqrtf(unbiased_v) + epsilon);
    }
}
