// Sums of lookups for whole textures, in the fixed point of vertex_sums.h with one unit per texture: the largest
// gradient is found in one pass over the gradients, not by atomics at every texel.
#include "vertex_sums.h"

extern "C" __global__ void note_magnitudes(const float* __restrict__ grad, int* __restrict__ magnitudes, int textures,
                                           long long samples_per_texture, int channels, int parts) {
    FOR_EACH_INDEX(j, (long long)textures * parts) {
        const long long texture = j / parts, part = j - texture * parts;
        int largest = 0;
        FOR_EACH_OF_PART(s, part, parts, samples_per_texture) {
            const long long i = texture * samples_per_texture + s;
            for (int c = 0; c < channels; ++c) {
                const int bits = magnitude_bits(grad[i * channels + c]);
                largest = bits > largest ? bits : largest;
            }
        }
        atomic_maximum(&magnitudes[texture], largest);
    }
}

extern "C" __global__ void read_texture_sums(const unsigned long long* __restrict__ sums,
                                             const int* __restrict__ magnitudes, float* __restrict__ out, int textures,
                                             long long values_per_texture, int parts, int headroom) {
    FOR_EACH_INDEX(j, (long long)textures * parts) {
        const long long texture = j / parts, part = j - texture * parts;
        const int exponent_field = magnitudes[texture] >> 23;
        const bool finite = exponent_field != kNotFinite;
        const double unit = finite ? 1.0 / fixed_point_scale(exponent_field, headroom) : 0.0;
        FOR_EACH_OF_PART(k, part, parts, values_per_texture) {
            const long long i = texture * values_per_texture + k;
            out[i] = finite ? (float)((double)(long long)sums[i] * unit) : not_a_number();
        }
    }
}
