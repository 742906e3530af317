/* Ways to write the inner loops of a sweep at k = 3 in single precision, for ways.py. Needs AVX-512.

Sixteen photons per step, each of its own pixel ("lane"); or sixteen entries of a channel held dense. All stays in
the caches. Loops that end in the same sums differ in how rows are found. */

#include <immintrin.h>
#include <stdint.h>

#define FLOOR _mm512_set1_ps(1e-7f)

typedef struct {
    long steps;             /* of sixteen photons */
    const uint16_t *channel; /* [steps][16] */
    const uint8_t *count;
    const float *table;     /* [channels][4] */
    const float *tile;      /* [3][16], of sixteen pixels */
    const float *rows;      /* [16][4], the same */
    const double *wide_rows;
    float *gain;            /* [3][16] */
    float *kept;            /* [steps][3][16], or none */
    float *weight;          /* [steps][16] */
    double *wide_weight;
    float *sums;            /* [channels][4] */
    double *wide_sums;
    long groups, channels;  /* held dense, both even */
    const uint8_t *dense;   /* [groups][channels][16] */
    const float *dense_table; /* [channels][3] */
    const float *dense_tile;  /* [groups][3][16] */
    float *dense_gain;
    float *dense_sums;      /* [channels][3] */
} Work;

void repeat(void (*way)(const Work *), const Work *work, long turns)
{
    for (long n = 0; n < turns; n++)
        way(work);
}

/* counts / fit: an estimate of 1 / fit, refined */
static inline __m512 ratio(__m512 counts, __m512 fit)
{
    fit = _mm512_max_ps(fit, FLOOR);
    __m512 guess = _mm512_rcp14_ps(fit), found = _mm512_mul_ps(counts, guess);
    return _mm512_fmadd_ps(_mm512_fnmadd_ps(found, fit, counts), guess, found);
}

static inline __m512 dot(const __m512 *a, const __m512 *s)
{
    return _mm512_fmadd_ps(a[2], s[2], _mm512_fmadd_ps(a[1], s[1], _mm512_mul_ps(a[0], s[0])));
}

static inline __m512 numbers(const uint8_t *counts)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)counts)));
}

static inline void turned(const __m512 *rows, __m512 *s)
{
    __m512d low01 = _mm512_castps_pd(_mm512_unpacklo_ps(rows[0], rows[1]));
    __m512d low23 = _mm512_castps_pd(_mm512_unpacklo_ps(rows[2], rows[3]));
    __m512d high01 = _mm512_castps_pd(_mm512_unpackhi_ps(rows[0], rows[1]));
    __m512d high23 = _mm512_castps_pd(_mm512_unpackhi_ps(rows[2], rows[3]));
    s[0] = _mm512_castpd_ps(_mm512_unpacklo_pd(low01, low23));
    s[1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low01, low23));
    s[2] = _mm512_castpd_ps(_mm512_unpacklo_pd(high01, high23));
}

/* rows of four numbers, put together and turned */
static inline void by_rows(const float *table, const uint16_t *channel, __m512 *s)
{
    __m512 rows[4];
    for (int i = 0; i < 4; i++) {
        __m512 row = _mm512_castps128_ps512(_mm_load_ps(table + 4 * channel[i]));
        row = _mm512_insertf32x4(row, _mm_load_ps(table + 4 * channel[4 + i]), 1);
        row = _mm512_insertf32x4(row, _mm_load_ps(table + 4 * channel[8 + i]), 2);
        rows[i] = _mm512_insertf32x4(row, _mm_load_ps(table + 4 * channel[12 + i]), 3);
    }
    turned(rows, s);
}

/* the same, put together by masked loads */
static inline void by_masks(const float *table, const uint16_t *channel, __m512 *s)
{
    __m512 rows[4];
    for (int i = 0; i < 4; i++) {
        __m512 row = _mm512_broadcast_f32x4(_mm_load_ps(table + 4 * channel[i]));
        row = _mm512_mask_broadcast_f32x4(row, 0x00f0, _mm_load_ps(table + 4 * channel[4 + i]));
        row = _mm512_mask_broadcast_f32x4(row, 0x0f00, _mm_load_ps(table + 4 * channel[8 + i]));
        rows[i] = _mm512_mask_broadcast_f32x4(row, 0xf000, _mm_load_ps(table + 4 * channel[12 + i]));
    }
    turned(rows, s);
}

/* the processor's gathers of single numbers */
static inline void by_gather(const float *table, const uint16_t *channel, __m512 *s)
{
    __m512i place = _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)channel)), 2);
    for (int c = 0; c < 3; c++)
        s[c] = _mm512_i32gather_ps(place, table + c, 4);
}

/* and of pairs */
static inline void by_pairs(const float *table, const uint16_t *channel, __m512 *s)
{
    __m512i even = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
    __m512i place = _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)channel)), 1);
    __m256i low = _mm512_castsi512_si256(place), high = _mm512_extracti64x4_epi64(place, 1);
    __m512 first = _mm512_castpd_ps(_mm512_i32gather_pd(low, table, 8));
    __m512 second = _mm512_castpd_ps(_mm512_i32gather_pd(high, table, 8));
    s[0] = _mm512_permutex2var_ps(first, even, second);
    s[1] = _mm512_permutex2var_ps(first, odd, second);
    first = _mm512_castpd_ps(_mm512_i32gather_pd(low, table + 2, 8));
    second = _mm512_castpd_ps(_mm512_i32gather_pd(high, table + 2, 8));
    s[2] = _mm512_permutex2var_ps(first, even, second);
}

/* Σ ratio · row over the steps: of pixels' photons over channels or, where counts are sorted by channel, the
other way round. What rows were found is kept for weights() where there is room. */
#define GAINS(WAY)                                                                                           \
    void gains_##WAY(const Work *w)                                                                          \
    {                                                                                                        \
        __m512 a[3], s[3], sums[3];                                                                          \
        float *kept = w->kept;                                                                               \
        const float *table = w->table;                                                                       \
        const uint16_t *channel = w->channel;                                                                \
        const uint8_t *count = w->count;                                                                     \
        long steps = w->steps;                                                                               \
        for (int c = 0; c < 3; c++)                                                                          \
            a[c] = _mm512_load_ps(w->tile + 16 * c), sums[c] = _mm512_setzero_ps();                          \
        for (long n = 0; n < steps; n++) {                                                                   \
            WAY(table, channel + 16 * n, s);                                                                 \
            __m512 factor = ratio(numbers(count + 16 * n), dot(a, s));                                       \
            for (int c = 0; c < 3; c++)                                                                      \
                sums[c] = _mm512_fmadd_ps(factor, s[c], sums[c]);                                            \
            for (int c = 0; kept && c < 3; c++)                                                              \
                _mm512_store_ps(kept + 48 * n + 16 * c, s[c]);                                               \
        }                                                                                                    \
        for (int c = 0; c < 3; c++)                                                                          \
            _mm512_store_ps(w->gain + 16 * c, sums[c]);                                                      \
    }
GAINS(by_rows)
GAINS(by_masks)
GAINS(by_gather)
GAINS(by_pairs)

/* ratios from rows that were kept */
static inline __m512 kept_ratio(const float *kept, const uint8_t *count, const __m512 *a)
{
    __m512 s[3];
    for (int c = 0; c < 3; c++)
        s[c] = _mm512_load_ps(kept + 16 * c);
    return ratio(numbers(count), dot(a, s));
}

static inline void store_single(float *to, __m512 found)
{
    _mm512_store_ps(to, found);
}

static inline void store_double(double *to, __m512 found)
{
    _mm512_store_pd(to, _mm512_cvtps_pd(_mm512_castps512_ps256(found)));
    _mm512_store_pd(to + 8, _mm512_cvtps_pd(_mm512_extractf32x8_ps(found, 1)));
}

#define WEIGHTS(PRECISION, NUMBER, TO)                                                                       \
    void weights_##PRECISION(const Work *w)                                                                  \
    {                                                                                                        \
        __m512 a[3];                                                                                         \
        for (int c = 0; c < 3; c++)                                                                          \
            a[c] = _mm512_load_ps(w->tile + 16 * c);                                                         \
        NUMBER *weight = w->TO;                                                                              \
        const float *kept = w->kept;                                                                         \
        const uint8_t *count = w->count;                                                                     \
        long steps = w->steps;                                                                               \
        for (long n = 0; n < steps; n++)                                                                     \
            store_##PRECISION(weight + 16 * n, kept_ratio(kept + 48 * n, count + 16 * n, a));                \
    }
WEIGHTS(single, float, weight)
WEIGHTS(double, double, wide_weight)

/* weight · the pixel's own row, added to the row of sums of each photon's channel; LOAD, STORE, SPLAT and FMA are
those of four numbers */
#define SUMS(PRECISION, NUMBER, FOUR, WEIGHT, ROWS, TO, LOAD, STORE, SPLAT, FMA)                             \
    void sums_##PRECISION(const Work *w)                                                                     \
    {                                                                                                        \
        const NUMBER *weight = w->WEIGHT, *rows = w->ROWS;                                                   \
        NUMBER *sums = w->TO;                                                                                \
        const uint16_t *channel = w->channel;                                                                \
        long steps = w->steps;                                                                               \
        FOUR own[16];                                                                                        \
        _Pragma("GCC unroll 16") for (int i = 0; i < 16; i++)                                                \
            own[i] = LOAD(rows + 4 * i);                                                                     \
        for (long n = 0; n < 16 * steps; n += 16)                                                            \
            _Pragma("GCC unroll 16") for (int i = 0; i < 16; i++) {                                          \
                NUMBER *row = sums + 4 * channel[n + i];                                                     \
                STORE(row, FMA(SPLAT(weight + n + i), own[i], LOAD(row)));                                   \
            }                                                                                                \
    }
SUMS(single, float, __m128, weight, rows, sums, _mm_load_ps, _mm_store_ps, _mm_broadcast_ss, _mm_fmadd_ps)
SUMS(double, double, __m256d, wide_weight, wide_rows, wide_sums, _mm256_load_pd, _mm256_store_pd,
     _mm256_broadcast_sd, _mm256_fmadd_pd)

/* two at once, with one estimate of 1 / (fit · fit) */
static inline void two_ratios(const __m512 *counts, const __m512 *fits, __m512 *found)
{
    __m512 first = _mm512_max_ps(fits[0], FLOOR), second = _mm512_max_ps(fits[1], FLOOR);
    __m512 both = _mm512_mul_ps(first, second), guess = _mm512_rcp14_ps(both);
    guess = _mm512_fmadd_ps(_mm512_fnmadd_ps(both, guess, _mm512_set1_ps(1)), guess, guess);
    found[0] = _mm512_mul_ps(_mm512_mul_ps(counts[0], second), guess);
    found[1] = _mm512_mul_ps(_mm512_mul_ps(counts[1], first), guess);
}

static inline void one_by_one(const __m512 *counts, const __m512 *fits, __m512 *found)
{
    found[0] = ratio(counts[0], fits[0]);
    found[1] = ratio(counts[1], fits[1]);
}

/* both halves on channels held dense: a group of sixteen pixels along the channels, then a channel along the
groups; counts[group][channel][16], two at a time */
#define DENSE(WAY)                                                                                           \
    void dense_##WAY(const Work *w)                                                                          \
    {                                                                                                        \
        long groups = w->groups, channels = w->channels;                                                     \
        const uint8_t *counts = w->dense;                                                                    \
        const float *table = w->dense_table, *tile = w->dense_tile;                                          \
        for (long g = 0; g < groups; g++) {                                                                  \
            __m512 a[3], s[2][3], total[3], y[2], fit[2], factor[2];                                         \
            for (int c = 0; c < 3; c++)                                                                      \
                a[c] = _mm512_load_ps(tile + 48 * g + 16 * c), total[c] = _mm512_setzero_ps();               \
            for (long e = 0; e < channels; e += 2) {                                                         \
                for (int i = 0; i < 2; i++) {                                                                \
                    for (int c = 0; c < 3; c++)                                                              \
                        s[i][c] = _mm512_set1_ps(table[3 * (e + i) + c]);                                    \
                    y[i] = numbers(counts + 16 * (g * channels + e + i));                                    \
                    fit[i] = dot(a, s[i]);                                                                   \
                }                                                                                            \
                WAY(y, fit, factor);                                                                         \
                for (int i = 0; i < 2; i++)                                                                  \
                    for (int c = 0; c < 3; c++)                                                              \
                        total[c] = _mm512_fmadd_ps(factor[i], s[i][c], total[c]);                            \
            }                                                                                                \
            for (int c = 0; c < 3; c++)                                                                      \
                _mm512_store_ps(w->dense_gain + 48 * g + 16 * c, total[c]);                                  \
        }                                                                                                    \
        for (long e = 0; e < channels; e++) {                                                                \
            __m512 a[2][3], s[3], total[3], y[2], fit[2], factor[2];                                         \
            for (int c = 0; c < 3; c++)                                                                      \
                s[c] = _mm512_set1_ps(table[3 * e + c]), total[c] = _mm512_setzero_ps();                     \
            for (long g = 0; g < groups; g += 2) {                                                           \
                for (int i = 0; i < 2; i++) {                                                                \
                    for (int c = 0; c < 3; c++)                                                              \
                        a[i][c] = _mm512_load_ps(tile + 48 * (g + i) + 16 * c);                              \
                    y[i] = numbers(counts + 16 * ((g + i) * channels + e));                                  \
                    fit[i] = dot(a[i], s);                                                                   \
                }                                                                                            \
                WAY(y, fit, factor);                                                                         \
                for (int i = 0; i < 2; i++)                                                                  \
                    for (int c = 0; c < 3; c++)                                                              \
                        total[c] = _mm512_fmadd_ps(factor[i], a[i][c], total[c]);                            \
            }                                                                                                \
            for (int c = 0; c < 3; c++)                                                                      \
                w->dense_sums[3 * e + c] += _mm512_reduce_add_ps(total[c]);                                  \
        }                                                                                                    \
    }
DENSE(one_by_one)
DENSE(two_ratios)
