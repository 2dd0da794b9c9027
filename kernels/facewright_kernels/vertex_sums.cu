// Fixed-point sums (vertex_sums.h) turned into floats.
#include "vertex_sums.h"

extern "C" __global__ void read_sums(const unsigned long long* __restrict__ sums, const int* __restrict__ magnitudes,
                                     float* __restrict__ out, long long vertices, int channels, int headroom) {
    FOR_EACH_INDEX(i, vertices * channels) {
        const int exponent_field = magnitudes[i / channels] >> 23;
        const double sum = (double)(long long)sums[i];
        out[i] = exponent_field == kNotFinite ? not_a_number()
                                              : (float)(sum / fixed_point_scale(exponent_field, headroom));
    }
}
