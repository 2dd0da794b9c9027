// One step of Adam, in place (Kingma and Ba 2015, Algorithm 1): each value is read and written once.
#include "launch_target.h"

// 1 - beta^step; expm1f keeps the digits that 1.0f - powf(...) would cancel in the first steps.
__device__ float bias_correction(float log_beta, int step) { return -expm1f(log_beta * (float)step); }

extern "C" __global__ void adam_step(float* __restrict__ parameter, const float* __restrict__ gradient,
                                     float* __restrict__ first_moment, float* __restrict__ second_moment,
                                     const int* __restrict__ row_step, const float* __restrict__ row_learning_rate,
                                     long long values, long long values_per_row, float correction1,
                                     float correction2, float learning_rate, float beta1, float beta2, float log_beta1,
                                     float log_beta2, float epsilon) {
    FOR_EACH_INDEX(i, values) {
        const long long row = i / values_per_row;
        const float rate = row_learning_rate ? row_learning_rate[row] : learning_rate;
        if (rate == 0.0f) continue;  // a stopped row stays as it is, whatever its gradient
        const float g = gradient[i];
        const float m = beta1 * first_moment[i] + (1.0f - beta1) * g;
        const float v = beta2 * second_moment[i] + (1.0f - beta2) * g * g;
        first_moment[i] = m;
        second_moment[i] = v;
        const float unbiased_m = m / (row_step ? bias_correction(log_beta1, row_step[row]) : correction1);
        const float unbiased_v = v / (row_step ? bias_correction(log_beta2, row_step[row]) : correction2);
        parameter[i] -= rate * unbiased_m / (sqrtf(unbiased_v) + epsilon);
    }
}
