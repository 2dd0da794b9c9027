// Multigrid for the screened membrane that poisson_blend.py states: (K + L) h = K d over the texels of a UV layout,
// where K holds data weights and L is the graph Laplacian of neighbouring (and linked) texels.
//
// Planes are [channels][height + 2][width] with a row of zeros above and below; `left` and `up` hold the coupling of a
// cell to its left and upper neighbour, 0 across borders, so that no kernel has a special case at the edge of the image.
// `chart` numbers the connected charts of the domain from 1 (0: outside). A coarse cell belongs to one chart only: charts
// that lie side by side in a texture have nothing to do with each other.
#include "mesh.h"

// inverse and diagonal of (K + L); both 0 outside the domain.
extern "C" __global__ void membrane_diagonal(const float* __restrict__ stiffness, const float* __restrict__ left,
                                             const float* __restrict__ up, const float* __restrict__ link_sum,
                                             float* __restrict__ diagonal, float* __restrict__ inverse, int batch,
                                             int height, int width) {
    const long long plane = (long long)(height + 2) * width;
    FOR_EACH_PIXEL(row, column, (long long)batch * height, width) {
        const long long image = row / height;
        const long long cell = (row - image * height + 1) * width + column, i = image * plane + cell;
        const float sum =
            stiffness[i] + left[cell] + left[cell + 1] + up[cell] + up[cell + width] + link_sum[cell];
        diagonal[i] = sum;
        inverse[i] = sum > 0.0f ? 1.0f / sum : 0.0f;
    }
}

// out = h + omega (inverse (rhs + couplings h) - h)
extern "C" __global__ void membrane_relax(const float* __restrict__ h, const float* __restrict__ rhs,
                                          const float* __restrict__ inverse, const float* __restrict__ left,
                                          const float* __restrict__ up, float* __restrict__ out, int batch,
                                          int channels, int height, int width, float omega) {
    const long long plane = (long long)(height + 2) * width;
    FOR_EACH_PIXEL(row, column, (long long)batch * channels * height, width) {
        const long long layer = row / height;
        const long long cell = (row - layer * height + 1) * width + column, i = layer * plane + cell;
        const float around = left[cell] * h[i - 1] + left[cell + 1] * h[i + 1] + up[cell] * h[i - width] +
                             up[cell + width] * h[i + width];
        out[i] = h[i] + omega * (inverse[layer / channels * plane + cell] * (rhs[i] + around) - h[i]);
    }
}

// coarse rhs = sum over 2 x 2 cells of (rhs + couplings h - diagonal h)
extern "C" __global__ void membrane_restrict_residual(const float* __restrict__ h, const float* __restrict__ rhs,
                                                      const float* __restrict__ diagonal,
                                                      const float* __restrict__ left, const float* __restrict__ up,
                                                      const float* __restrict__ chart,
                                                      const float* __restrict__ coarse_chart,
                                                      float* __restrict__ coarse, int batch, int channels, int height,
                                                      int width) {
    const int coarse_height = height / 2, coarse_width = width / 2;
    const long long plane = (long long)(height + 2) * width, coarse_plane = (long long)(coarse_height + 2) * coarse_width;
    FOR_EACH_PIXEL(row, column, (long long)batch * channels * coarse_height, coarse_width) {
        const long long layer = row / coarse_height, coarse_row = row - layer * coarse_height;
        const long long coarse_cell = (coarse_row + 1) * coarse_width + column;
        float sum = 0.0f;
        for (int k = 0; k < 4; ++k) {
            const long long cell = (2 * coarse_row + (k >> 1) + 1) * width + 2 * column + (k & 1);
            const long long i = layer * plane + cell;
            const float residual = rhs[i] + left[cell] * h[i - 1] + left[cell + 1] * h[i + 1] + up[cell] * h[i - width] +
                                   up[cell + width] * h[i + width] - diagonal[layer / channels * plane + cell] * h[i];
            sum += chart[cell] == coarse_chart[coarse_cell] ? residual : 0.0f;
        }
        coarse[layer * coarse_plane + coarse_cell] = sum;
    }
}

// coarse = sum over 2 x 2 cells
extern "C" __global__ void membrane_restrict(const float* __restrict__ fine, const float* __restrict__ chart,
                                             const float* __restrict__ coarse_chart, float* __restrict__ coarse,
                                             int layers, int height, int width) {
    const int coarse_height = height / 2, coarse_width = width / 2;
    const long long plane = (long long)(height + 2) * width, coarse_plane = (long long)(coarse_height + 2) * coarse_width;
    FOR_EACH_PIXEL(row, column, (long long)layers * coarse_height, coarse_width) {
        const long long layer = row / coarse_height, coarse_row = row - layer * coarse_height;
        const long long coarse_cell = (coarse_row + 1) * coarse_width + column;
        float sum = 0.0f;
        for (int k = 0; k < 4; ++k) {
            const long long cell = (2 * coarse_row + (k >> 1) + 1) * width + 2 * column + (k & 1);
            sum += chart[cell] == coarse_chart[coarse_cell] ? fine[layer * plane + cell] : 0.0f;
        }
        coarse[layer * coarse_plane + coarse_cell] = sum;
    }
}

// Bilinear interpolation for one of the four children of a coarse cell, over coarse cells of the child's own chart.
__device__ float interpolate_child(const float* coarse, const float* coarse_chart, float chart, long long cell,
                                   long long beside, long long beyond, bool has_beside) {
    const float w00 = coarse_chart[cell] == chart ? 9.0f : 0.0f;
    const float w10 = coarse_chart[cell + beyond] == chart ? 3.0f : 0.0f;
    const float w01 = has_beside && coarse_chart[cell + beside] == chart ? 3.0f : 0.0f;
    const float w11 = has_beside && coarse_chart[cell + beside + beyond] == chart ? 1.0f : 0.0f;
    const float sum = w00 * coarse[cell] + w01 * coarse[cell + beside] + w10 * coarse[cell + beyond] +
                      w11 * coarse[cell + beside + beyond];
    return chart > 0.0f ? sum / maximum(w00 + w01 + w10 + w11, 1.0f) : 0.0f;
}

// h = keep * h + interpolation of the coarse level
extern "C" __global__ void membrane_prolong(const float* __restrict__ coarse, const float* __restrict__ coarse_chart,
                                            const float* __restrict__ chart, float* __restrict__ h, int layers,
                                            int height, int width, float keep) {
    const int coarse_height = height / 2, coarse_width = width / 2;
    const long long plane = (long long)(height + 2) * width, coarse_plane = (long long)(coarse_height + 2) * coarse_width;
    FOR_EACH_PIXEL(row, column, (long long)layers * coarse_height, coarse_width) {
        const long long layer = row / coarse_height, coarse_row = row - layer * coarse_height;
        const long long coarse_cell = (coarse_row + 1) * coarse_width + column;
        const long long cell = (2 * coarse_row + 1) * width + 2 * column, i = layer * plane + cell;
        const float* from = coarse + layer * coarse_plane;
        const bool has_left = column > 0, has_right = column + 1 < coarse_width;
        h[i] = keep * h[i] +
               interpolate_child(from, coarse_chart, chart[cell], coarse_cell, -1, -coarse_width, has_left);
        h[i + 1] = keep * h[i + 1] +
                   interpolate_child(from, coarse_chart, chart[cell + 1], coarse_cell, 1, -coarse_width, has_right);
        h[i + width] = keep * h[i + width] + interpolate_child(from, coarse_chart, chart[cell + width], coarse_cell, -1,
                                                               coarse_width, has_left);
        h[i + width + 1] =
            keep * h[i + width + 1] +
            interpolate_child(from, coarse_chart, chart[cell + width + 1], coarse_cell, 1, coarse_width, has_right);
    }
}

// Linked cells keep their own right-hand side aside; the one that sweeps read also has what the links bring.
extern "C" __global__ void membrane_save_linked(const float* __restrict__ rhs, const int* __restrict__ linked,
                                                float* __restrict__ saved, int layers, int linked_count,
                                                long long plane) {
    FOR_EACH_INDEX(i, (long long)layers * linked_count) {
        const long long layer = i / linked_count, cell = linked[i - layer * linked_count];
        saved[i] = (unsigned long long)cell < (unsigned long long)plane ? rhs[layer * plane + cell] : 0.0f;
    }
}

extern "C" __global__ void membrane_links(const float* __restrict__ h, const float* __restrict__ saved,
                                          const int* __restrict__ linked, const int* __restrict__ offsets,
                                          const int* __restrict__ partners, const float* __restrict__ couplings,
                                          float* __restrict__ rhs, int layers, int linked_count, int partner_count,
                                          long long plane) {
    FOR_EACH_INDEX(i, (long long)layers * linked_count) {
        const long long layer = i / linked_count, k = i - layer * linked_count;
        if ((unsigned long long)linked[k] >= (unsigned long long)plane) continue;
        float sum = saved[i];
        const Entries links = entries_of(offsets, k, partner_count);
        for (int j = links.begin; j < links.end; ++j)
            if ((unsigned long long)partners[j] < (unsigned long long)plane)
                sum += couplings[j] * h[layer * plane + partners[j]];
        rhs[layer * plane + linked[k]] = sum;
    }
}

// Data weight and right-hand side of the finest level from images [batch][height][width][channels].
extern "C" __global__ void membrane_data(const float* __restrict__ foreground, const float* __restrict__ background,
                                         const float* __restrict__ weight, const float* __restrict__ chart,
                                         float* __restrict__ stiffness, float* __restrict__ rhs, int batch,
                                         int channels, int height, int width, float regularisation) {
    const long long plane = (long long)(height + 2) * width;
    FOR_EACH_PIXEL(row, column, (long long)batch * height, width) {
        const long long image = row / height;
        const long long cell = (row - image * height + 1) * width + column, pixel = row * width + column;
        const float known = minimum(maximum(weight[pixel], 0.0f), 1.0f);
        const float inside = chart[cell] > 0.0f ? 1.0f : 0.0f;
        const float data = inside * known / (1.001f - known);
        stiffness[image * plane + cell] = data + regularisation * inside;
        for (int c = 0; c < channels; ++c) {
            // A texel that nothing is known of may hold anything, NaN included.
            const float offset =
                data > 0.0f ? foreground[pixel * channels + c] - background[pixel * channels + c] : 0.0f;
            rhs[(image * channels + c) * plane + cell] = data * offset;
        }
    }
}

// weight * foreground + (1 - weight) * (background + h)
extern "C" __global__ void membrane_compose(const float* __restrict__ foreground, const float* __restrict__ background,
                                            const float* __restrict__ weight, const float* __restrict__ chart,
                                            const float* __restrict__ h, float* __restrict__ out, int batch,
                                            int channels, int height, int width) {
    const long long plane = (long long)(height + 2) * width;
    FOR_EACH_PIXEL(row, column, (long long)batch * height, width) {
        const long long image = row / height;
        const long long cell = (row - image * height + 1) * width + column, pixel = row * width + column;
        const float known = chart[cell] > 0.0f ? minimum(maximum(weight[pixel], 0.0f), 1.0f) : 0.0f;
        for (int c = 0; c < channels; ++c) {
            const float filled = background[pixel * channels + c] + h[(image * channels + c) * plane + cell];
            out[pixel * channels + c] =
                known > 0.0f ? known * foreground[pixel * channels + c] + (1.0f - known) * filled : filled;
        }
    }
}
