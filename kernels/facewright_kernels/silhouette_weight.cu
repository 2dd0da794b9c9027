// Distance to the nearest silhouette of a depth map, as a weight. The exact Euclidean distance within a radius, in two
// separable passes (Felzenszwalb and Huttenlocher 2012, eq. 3, by brute force, since the radius is small).
//
// An index is a piece of a row: a pixel on a GPU, so that neighbouring threads read neighbouring memory; the row on a CPU.
#include "launch_target.h"

struct Piece {
    long long row;  // of all images
    int begin, end;
};

__device__ Piece piece_at(long long i, int width, int segment) {
    const long long pieces = pieces_of(width, segment), row = i / pieces;
    const int begin = (int)(i - row * pieces) * segment;
    return {row, begin, begin + segment < width ? begin + segment : width};
}

// 1 where a pixel is empty, or nearer or farther than a neighbour by more than the jump.
extern "C" __global__ void mark_silhouettes(const float* __restrict__ depth_map, unsigned char* __restrict__ marks,
                                            int batch, int height, int width, float jump, int segment) {
    FOR_EACH_INDEX(i, (long long)batch * height * pieces_of(width, segment)) {
        const Piece piece = piece_at(i, width, segment);
        const int row = (int)(piece.row % height);
        const float* here = depth_map + piece.row * width;
        const float* above = row > 0 ? here - width : here;
        const float* below = row + 1 < height ? here + width : here;
        unsigned char* out = marks + piece.row * width;
        for (int x = piece.begin; x < piece.end; ++x) {
            const float z = here[x];
            const float left = here[x > 0 ? x - 1 : 0], right = here[x + 1 < width ? x + 1 : x];
            // Written so that NaN and the infinity of an empty neighbour count as jumps.
            const bool smooth = fabsf(left - z) <= jump && fabsf(right - z) <= jump && fabsf(above[x] - z) <= jump &&
                                fabsf(below[x] - z) <= jump;
            out[x] = !smooth || !(fabsf(z) < 1e30f);
        }
    }
}

// Squared distance along the row to the nearest mark, at most radius^2.
extern "C" __global__ void row_distance(const unsigned char* __restrict__ marks, float* __restrict__ squared,
                                        int batch, int height, int width, int radius, int segment) {
    FOR_EACH_INDEX(i, (long long)batch * height * pieces_of(width, segment)) {
        const Piece piece = piece_at(i, width, segment);
        const unsigned char* mark = marks + piece.row * width;
        float* out = squared + piece.row * width;
        int since = radius;  // steps since the last mark: one sweep each way, from where a mark would not count
        for (int x = piece.begin > radius ? piece.begin - radius : 0; x < piece.begin; ++x)
            since = mark[x] ? 0 : (since < radius ? since + 1 : radius);
        for (int x = piece.begin; x < piece.end; ++x) {
            since = mark[x] ? 0 : (since < radius ? since + 1 : radius);
            out[x] = (float)(since * since);
        }
        since = radius;
        for (int x = (piece.end + radius < width ? piece.end + radius : width) - 1; x >= piece.end; --x)
            since = mark[x] ? 0 : (since < radius ? since + 1 : radius);
        for (int x = piece.end - 1; x >= piece.begin; --x) {
            since = mark[x] ? 0 : (since < radius ? since + 1 : radius);
            out[x] = minimum(out[x], (float)(since * since));
        }
    }
}

// Smoothstep of distance / radius, 0 on the silhouette.
extern "C" __global__ void silhouette_weight(const float* __restrict__ squared, float* __restrict__ weight, int batch,
                                             int height, int width, int radius, int segment) {
    const float far = (float)radius * radius, inverse = 1.0f / radius;
    FOR_EACH_INDEX(i, (long long)batch * height * pieces_of(width, segment)) {
        const Piece piece = piece_at(i, width, segment);
        const int row = (int)(piece.row % height);
        float* out = weight + piece.row * width;
        for (int x = piece.begin; x < piece.end; ++x) out[x] = far;
        const int first = row < radius ? -row : -radius, last = row + radius < height ? radius : height - 1 - row;
        for (int dy = first; dy <= last; ++dy) {
            const float* along = squared + (piece.row + dy) * width;
            const float across = (float)(dy * dy);
            for (int x = piece.begin; x < piece.end; ++x) out[x] = minimum(out[x], along[x] + across);
        }
        for (int x = piece.begin; x < piece.end; ++x) {
            const float t = sqrtf(out[x]) * inverse;
            out[x] = t * t * (3.0f - 2.0f * t);
        }
    }
}
