/**
 * @file mfm.h
 * @brief Meta Flow Maps behind a C ABI (C99). C++ hosts include mfm.hpp, which is built on this file alone.
 *
 * Conventions. Time runs from noise (t = 0) to data (t = 1). Numbers are float32, row-major; a batch is one item after another, and a length
 * is always a number of floats, so `length = items * dimension`. What is written to may overlap nothing else that is handed in. All of it, and what a
 * reward is given and writes, is host memory, also where the model is on a GPU; only DLPack tensors live there.
 *
 * Units. A model works in coordinates z = (x - mean) / scale of its own, number by number, or in those of the data, where mean is 0 and scale 1:
 * ::mfm_model_info has both. Whatever crosses this interface is in the units of the data: items, states x_t = mean + scale z_t at any time,
 * velocities by x, and a reward's x and gradients. In these units the noise that a flow starts from is N(mean, diag(scale^2)). Where mean is more than
 * some 8,000 scales from zero, float does not tell samples apart, and the model is ::MFM_UNSUPPORTED: subtract a constant from the data.
 *
 * Errors. Functions that can fail return NULL for success, or an ::mfm_error that the caller owns and gives back to mfm_error_free(). No
 * exception and no panic leaves the library; whatever failed, handles stay usable, and outputs may be half-written only where that is said.
 *
 * Threads. A model is immutable and may be used by any number of threads. A session is for one call at a time: a second one answers ::MFM_BUSY.
 * Callbacks run on the thread of the call. Results do not depend on the number of threads. They do depend on the batch size: by rounding alone, but for what
 * belongs to a batch as a whole, which is the particles of both sequential Monte Carlo estimators, those of a search
 * with `keep_overall`, and the batches of training. After fork(), which is for when no call is under way, the child opens sessions of its own, and uses no
 * model that is on a GPU.
 *
 * Cancellation. A thread that is cancelled (pthread_cancel(), deferred, as is the default) during a call ends after it: a call is no cancellation point. A callback
 * must return: it must neither end its thread (pthread_exit()), nor leave by longjmp(), nor enable cancellation. It may throw where that is said; the
 * log and the deleters of DLPack tensors must not.
 *
 * The library writes to no stream, reads no environment variable, installs no signal handler and has no global thread pool. The one exception: where the system
 * refuses memory for something small, the process ends with Rust's message on standard error; for as much as the data, a batch or a model has, it is ::MFM_OUT_OF_MEMORY.
 *
 * Options begin with their size, so that programs built against an older header go on working. Those built against a newer one do, too, unless they ask
 * for what this library does not know, which is ::MFM_UNSUPPORTED. Take options from their `..._default()` function
 * and change what is to be changed; NULL in place of options means the defaults. A switch is 0 or 1. An option that the call would ignore is ::MFM_RANGE, unless
 * it has its default value.
 */
#ifndef MFM_MFM_H
#define MFM_MFM_H

#include <stddef.h>
#include <stdint.h>

/** Marks what the library exports. */
#if defined(__GNUC__)
#define MFM_API __attribute__((visibility("default")))
#else
#define MFM_API
#endif
/** `noexcept`, in C++. */
#ifdef __cplusplus
#define MFM_NOEXCEPT noexcept
/** `nullptr` in C++, where some warn of NULL; NULL in C. */
#define MFM_NULL nullptr
extern "C" {
#else
#define MFM_NOEXCEPT
#define MFM_NULL NULL
#endif

/** The first number of the library's version, for `#if`. */
#define MFM_VERSION_MAJOR 0
/** The second. */
#define MFM_VERSION_MINOR 1
/** The third. */
#define MFM_VERSION_PATCH 0
/** All three, as of these headers; mfm_version() is that of the library that runs. */
#define MFM_VERSION "0.1.0"

/** The version of this interface. Options and infos, which are whole words, grow only at their end, by fields whose default is 0; any other change raises this number and the SONAME. */
#define MFM_ABI_VERSION 1u

/** A model: a network, the path it was trained for, and where it came from. Immutable, shared freely between threads. */
typedef struct mfm_model mfm_model;
/** What a caller needs beside a model: threads, scratch memory, callbacks. One call at a time. Keeps its model alive. */
typedef struct mfm_session mfm_session;
/** Why a call failed. */
typedef struct mfm_error mfm_error;
/** Bytes that the library allocated. */
typedef struct mfm_bytes mfm_bytes;
/** A tensor as any dlpack.h of major version 1 defines it. */
struct DLManagedTensorVersioned;

/** What kind of failure it was. Callbacks answer with these too: ::MFM_OK to go on, ::MFM_CANCELLED to stop, ::MFM_STOP to stop and keep what there is. */
typedef enum mfm_code {
  MFM_OK = 0,                   /**< Success. */
  MFM_CANCELLED = 1,            /**< A callback asked to stop. */
  MFM_CALLBACK_FAILED = 2,      /**< A callback answered with any other number. */
  MFM_CALLBACK_THREW = 3,       /**< A callback threw a std::exception. */
  MFM_CALLBACK_THREW_OTHER = 4, /**< A callback threw something else. */
  MFM_NOT_FINITE = 5,           /**< A reward, its gradient, or a result is NaN or infinite (-infinity is allowed where that is said). */
  MFM_NULL_POINTER = 6,         /**< A pointer that must not be null is null. */
  MFM_LENGTH = 7,               /**< A span or list has the wrong length, or a label does not exist. */
  MFM_EMPTY = 8,                /**< A batch without items. */
  MFM_RANGE = 9,                /**< An option outside its range. */
  MFM_FILE = 10,                /**< A file cannot be read or written. */
  MFM_BAD_MODEL = 11,           /**< The bytes are no model, or one that is truncated, corrupt or of another version. */
  MFM_OUT_OF_MEMORY = 12,       /**< More memory than there is, or than can be addressed. */
  MFM_UNSUPPORTED = 13,         /**< Not offered by this model, reward, device or build of the library: labels of a model that knows none, for one. */
  MFM_BUSY = 14,                /**< The session is in another call, on this or another thread. */
  MFM_DLPACK = 15,              /**< A DLPack tensor of a version, type, layout or device that cannot be used here. */
  MFM_DEVICE = 16,              /**< The device reported an error. */
  MFM_INTERNAL = 17,            /**< A bug in the library; the message says where. The session stays usable. */
  MFM_STOP = 18                 /**< An answer of the progress callback alone, never an error: training ends after this step, with ::MFM_OK and the model so
                                     far. A call that has nothing to keep takes it as ::MFM_CANCELLED. */
} mfm_code;

/** @name The library
 * @{ */
/** The ::MFM_ABI_VERSION that the library was built with. */
MFM_API uint32_t mfm_abi_version(void) MFM_NOEXCEPT;
/** The library's version, such as "0.1.0". */
MFM_API const char* mfm_version(void) MFM_NOEXCEPT;
/** The name of an ::mfm_code, such as "MFM_RANGE"; "unknown" for a number that is none. */
MFM_API const char* mfm_code_name(int code) MFM_NOEXCEPT;
/** @} */

/** @name Errors
 * @{ */
/** The kind; ::MFM_OK for NULL. */
MFM_API mfm_code mfm_error_code(const mfm_error* error) MFM_NOEXCEPT;
/** One sentence that names the thing and the place; empty for NULL. Lives as long as the error. */
MFM_API const char* mfm_error_message(const mfm_error* error) MFM_NOEXCEPT;
/** Gives an error back; NULL is ignored. */
MFM_API void mfm_error_free(mfm_error* error) MFM_NOEXCEPT;
/** @} */

/** @name Models
 * @{ */

/** How a GPU keeps and multiplies numbers. */
typedef enum mfm_precision {
  MFM_F32 = 0,  /**< f32 throughout. */
  MFM_TF32 = 1, /**< f32, with the factors of matrix products rounded to TF32 (10 bits). */
  MFM_BF16 = 2  /**< Kept in bf16 (8 bits), sums in f32; such models take and give no DLPack tensors. Training keeps parameters, the optimiser's moments
                     and the moving average in f32. */
} mfm_precision;

/** How to load a model. */
typedef struct mfm_model_options {
  size_t size;        /**< sizeof(mfm_model_options). */
  const char* device; /**< Where it is to live: "cpu" (also NULL), or "cuda:0" (or another number). */
  uint32_t precision; /**< An ::mfm_precision, default ::MFM_F32; on the CPU there is no other. */
  uint32_t graphs;    /**< 1 for work that goes to a GPU as CUDA graphs (default 0), with the same results; for small networks. */
} mfm_model_options;

/** The CPU. */
static inline mfm_model_options mfm_model_options_default(void) {
  mfm_model_options o;
  o.size = sizeof o;
  o.device = MFM_NULL;
  o.precision = MFM_F32;
  o.graphs = 0;
  return o;
}

/** Loads a model file; every checksum in it is verified.
 * @param path UTF-8, of `path_length` bytes, not necessarily terminated
 * @param options NULL for the defaults
 * @param[out] model to be given back to mfm_model_free()
 * Errors: ::MFM_FILE, ::MFM_BAD_MODEL, ::MFM_UNSUPPORTED for a device that this library does not know, or on the CPU for what only a GPU can;
 * ::MFM_RANGE for a precision that is none; ::MFM_DEVICE for a GPU that cannot be used, and why. */
MFM_API mfm_error* mfm_model_load(const char* path, size_t path_length, const mfm_model_options* options, mfm_model** model) MFM_NOEXCEPT;

/** Loads a model file from memory, which is copied. Errors: as mfm_model_load(). */
MFM_API mfm_error* mfm_model_load_memory(const void* bytes, size_t length, const mfm_model_options* options, mfm_model** model) MFM_NOEXCEPT;

/** The form of a new model: a multi-layer perceptron on the linear path. */
typedef struct mfm_architecture {
  size_t size;           /**< sizeof(mfm_architecture). */
  size_t dimension;      /**< Numbers in one item, at least 1. */
  size_t width;          /**< Width of the hidden layers, default 256. */
  size_t depth;          /**< Hidden layers, default 4. */
  size_t frequencies;    /**< Frequencies by which each time enters, default 8. */
  size_t labels;         /**< Number of labels, 0 (the default) for an unconditional model. */
  uint64_t seed;         /**< Of the first weights. */
  const char* device;    /**< As in ::mfm_model_options; likewise below. */
  uint32_t precision;    /**< How a GPU keeps its numbers. */
  uint32_t graphs;       /**< Whether work goes there as CUDA graphs. */
  uint32_t raw;          /**< 1 for a model in the coordinates of its data, whose noise is N(0, I) in their units; 0 (the default) for one that standardises
                              each number of an item by the mean and the deviation of the data that it is created from. */
  uint32_t reserved;     /**< 0; anything else is ::MFM_RANGE. */
} mfm_architecture;

/** Four hidden layers of 256 for items of `dimension` numbers. */
static inline mfm_architecture mfm_architecture_default(size_t dimension) {
  mfm_architecture a;
  a.size = sizeof a;
  a.dimension = dimension;
  a.width = 256;
  a.depth = 4;
  a.frequencies = 8;
  a.labels = 0;
  a.seed = 0;
  a.device = MFM_NULL;
  a.precision = MFM_F32;
  a.graphs = 0;
  a.raw = 0;
  a.reserved = 0;
  return a;
}

/** A fresh model, to be trained.
 * @param data [length / dimension, dimension]: clean items by which each number is standardised (by 1 where it does not vary), unless
 * `architecture->raw`, and whose mean and deviation precondition the network, so that it learns only what a Gaussian does not know; NULL with
 * length 0 for a bare network in the coordinates of the data. Errors: ::MFM_RANGE, ::MFM_LENGTH, ::MFM_NOT_FINITE. */
MFM_API mfm_error* mfm_model_create(const mfm_architecture* architecture, const float* data, size_t length, mfm_model** model) MFM_NOEXCEPT;

/** What the jumps of a model are worth, and with them its draws by the map: samples by ::MFM_METHOD_MAP and ::MFM_METHOD_REFINEMENT, posteriors, values, and
 * what rests on these. */
typedef enum mfm_jumps {
  MFM_JUMPS_TRAINED = 0,    /**< They were trained, or nothing else is known. */
  MFM_JUMPS_UNTRAINED = 1,  /**< They were not: it is a flow model, and they mean nothing. */
  MFM_JUMPS_LEFT_BEHIND = 2 /**< They are those of the model before its drift was tuned, and do not follow it. */
} mfm_jumps;

/** What is known about a model. What it points to lives as long as the model: until mfm_model_free(), and until the last of its sessions is closed. */
typedef struct mfm_model_info {
  size_t size;             /**< sizeof(mfm_model_info), set by the caller. */
  size_t dimension;        /**< Numbers in one item. */
  size_t labels;           /**< Number of labels, 0 for none. */
  size_t parameters;       /**< Numbers that were learned. */
  uint64_t training_steps; /**< Steps of all runs of training and fine-tuning that led to it, added up. */
  uint64_t seed;           /**< The seed of the last of these runs; likewise `objective` and `data`. */
  const char* path;        /**< The path from noise to data, such as "linear". */
  const char* objective;   /**< What it was trained by, in words. */
  const char* data;        /**< What it was trained on, in words. */
  const char* device;      /**< Where it lives. */
  const double* guidance;  /**< The scales of guidance that it takes, 1 first, which stands for none; NULL if it takes none. */
  size_t guidance_count;   /**< How many. */
  const double* mean;      /**< The mean of its coordinates, `dimension` numbers; NULL if they are those of the data. */
  const double* scale;     /**< Their scale, likewise. */
  uint32_t jumps;          /**< An ::mfm_jumps, by what its file says of its training. */
  uint32_t reserved;       /**< 0. */
} mfm_model_info;

/** Fills in the first `info->size` bytes of `info`, with zeros where this library knows of nothing. */
MFM_API mfm_error* mfm_model_describe(const mfm_model* model, mfm_model_info* info) MFM_NOEXCEPT;

/** Writes a model file, under a temporary name first, so that a crash leaves the old file or the new one. Errors: ::MFM_FILE. */
MFM_API mfm_error* mfm_model_save(const mfm_model* model, const char* path, size_t path_length) MFM_NOEXCEPT;

/** The bytes of a model file. @param[out] bytes to be given back to mfm_bytes_free() */
MFM_API mfm_error* mfm_model_save_memory(const mfm_model* model, mfm_bytes** bytes) MFM_NOEXCEPT;

/** Gives a model back; sessions that use it keep it alive. NULL is ignored. */
MFM_API void mfm_model_free(mfm_model* model) MFM_NOEXCEPT;

/** Where the bytes are; NULL for NULL. */
MFM_API const void* mfm_bytes_data(const mfm_bytes* bytes) MFM_NOEXCEPT;
/** How many there are; 0 for NULL. */
MFM_API size_t mfm_bytes_size(const mfm_bytes* bytes) MFM_NOEXCEPT;
/** Gives bytes back; NULL is ignored. */
MFM_API void mfm_bytes_free(mfm_bytes* bytes) MFM_NOEXCEPT;
/** @} */

/** @name Sessions
 * @{ */

/** How far a call has come, and how it goes. What is not known is NaN. */
typedef struct mfm_progress {
  size_t size;                  /**< sizeof(mfm_progress) of the library. */
  size_t step;                  /**< Steps done; network evaluations, where samples are made by the map; blocks of states, for values and the best of
                                     several samples. */
  size_t steps;                 /**< Steps in all. */
  double effective_sample_size; /**< Of the weights of the draws, or of the fresh starts of chains, mean over the states; of the particles; of a batch in
                                     fine-tuning. */
  double largest_weight;        /**< Of the draws, or fresh starts, of a state, mean over the states; the largest share of a particle. */
  double correction_norm;       /**< Mean norm of (σ²/2)∇V. */
  double acceptance;            /**< Share of accepted moves of Markov chains. */
  double best_reward;           /**< Of a search, or of the best of several samples; so far. */
  double loss;                  /**< Of training. */
  double gradient_norm;         /**< Of training. */
  double mean_reward;           /**< Of the draws of a batch in fine-tuning. */
} mfm_progress;

/** How much a message matters. */
typedef enum mfm_log_level {
  MFM_LOG_INFO = 0, /**< One line for each call but mfm_velocity(), and before it one that begins with "warning: " where the call draws by the map of a model whose
                         jumps were not trained (::mfm_jumps). */
  MFM_LOG_DEBUG = 1 /**< One line for each step as well. */
} mfm_log_level;

/** How to open a session. */
typedef struct mfm_session_options {
  size_t size;    /**< sizeof(mfm_session_options). */
  size_t threads; /**< Threads, the caller's among them, 1 to 1024; default 1. Results do not depend on it. */
  void* stream;   /**< On CUDA a CUstream (cudaStream_t) of the device's primary context in whose order DLPack tensors come and go; see there. Must
                       outlive the session and its tensors. NULL, the default, for none; on the CPU it must be. */
  void* context;  /**< Handed to the callbacks. */
  /** Called after each step, and of steps in which more rows are evaluated than a block holds (see ::mfm_reward) also within them, with the number of steps
   * that are done, and nothing else known. ::MFM_OK goes on, ::MFM_CANCELLED stops the call, and ::MFM_STOP does, too, but for training and fine-tuning, which
   * then end after this step with ::MFM_OK and the model so far. Anything else is a failure. May be NULL. */
  int (*progress)(void* context, const mfm_progress* progress);
  /** Called with a line of UTF-8, terminated, without a newline. Must not throw. May be NULL. */
  void (*log)(void* context, mfm_log_level level, const char* message);
} mfm_session_options;

/** One thread, no callbacks. */
static inline mfm_session_options mfm_session_options_default(void) {
  mfm_session_options o;
  o.size = sizeof o;
  o.threads = 1;
  o.stream = MFM_NULL;
  o.context = MFM_NULL;
  o.progress = MFM_NULL;
  o.log = MFM_NULL;
  return o;
}

/** Opens a session. Costs threads - 1 system threads and, as it is used, scratch memory of its own. On the CPU, sessions of one model do not wait for one
 * another, but for the moment in which a label is looked up in the model's table. On CUDA, they share one stream: work of several is queued one after another.
 * Errors: ::MFM_RANGE, ::MFM_DEVICE if threads cannot be started, ::MFM_UNSUPPORTED for a stream on the CPU. */
MFM_API mfm_error* mfm_session_open(const mfm_model* model, const mfm_session_options* options, mfm_session** session) MFM_NOEXCEPT;

/** Closes a session, which must not be in a call. NULL is ignored. */
MFM_API void mfm_session_close(mfm_session* session) MFM_NOEXCEPT;
/** @} */

/** @name Draws
 * @{ */

/** What all draws are made from: noise, and what they are conditioned on. */
typedef struct mfm_draw {
  uint64_t seed;        /**< The seed of all noise, which is the same everywhere; so are results, but for rounding on another kind of processor. */
  uint64_t stream;      /**< Independent noise under the same seed: without another one, a repeated call gives the same samples. */
  const size_t* labels; /**< One for each state, or one for all; NULL for none. */
  size_t label_count;   /**< How many. */
  const double* guidance; /**< Scales of classifier-free guidance of the labels, one for each state, or one for all; NULL for none. Transformers that were made for
                               some take only these (::mfm_model_info has them): another is ::MFM_RANGE. Any other model of labels takes any finite scale,
                               and is then asked twice, with the label and without; off the diagonal that extrapolates jumps. ::MFM_UNSUPPORTED for a model
                               that was trained to be guided already, and where there are no labels. */
  size_t guidance_count;  /**< How many. */
} mfm_draw;

/** Seed 0, stream 0, no condition. */
static inline mfm_draw mfm_draw_default(void) {
  mfm_draw d;
  d.seed = 0;
  d.stream = 0;
  d.labels = MFM_NULL;
  d.label_count = 0;
  d.guidance = MFM_NULL;
  d.guidance_count = 0;
  return d;
}

/** How samples of the model are made. */
typedef enum mfm_method {
  MFM_METHOD_MAP = 0,        /**< Steps of the map; one is enough, but of flow models (::MFM_NO_CONSISTENCY) and of tuned ones (mfm_fine_tune()). */
  MFM_METHOD_REFINEMENT = 1, /**< Rounds of posterior draw and renoising. */
  MFM_METHOD_ODE = 2,        /**< Heun steps along the ordinary differential equation. */
  MFM_METHOD_SDE = 3         /**< Euler-Maruyama steps along the stochastic one. */
} mfm_method;

/** How to sample. */
typedef struct mfm_sample_options {
  size_t size;       /**< sizeof(mfm_sample_options). */
  mfm_draw draw;     /**< Noise and condition; one label and one scale at most. */
  uint32_t method;   /**< An ::mfm_method; default ::MFM_METHOD_MAP. */
  size_t steps;      /**< Default 1. */
} mfm_sample_options;

/** One step of the map. */
static inline mfm_sample_options mfm_sample_options_default(void) {
  mfm_sample_options o;
  o.size = sizeof o;
  o.draw = mfm_draw_default();
  o.method = MFM_METHOD_MAP;
  o.steps = 1;
  return o;
}

/** Samples of the model. @param[out] samples [length / dimension, dimension]
 * Errors: ::MFM_LENGTH, ::MFM_EMPTY, ::MFM_RANGE, ::MFM_NOT_FINITE, ::MFM_CANCELLED. */
MFM_API mfm_error* mfm_sample(mfm_session* session, const mfm_sample_options* options, float* samples, size_t length) MFM_NOEXCEPT;

/** How to draw from posteriors. */
typedef struct mfm_posterior_options {
  size_t size;   /**< sizeof(mfm_posterior_options). */
  mfm_draw draw; /**< Noise and condition. */
  double time;   /**< The time t of the states, in [0, 1]; default 0.5. */
  size_t draws;  /**< Draws for each state; default 1. */
  size_t steps;  /**< Steps of the map for each draw; default 1. */
} mfm_posterior_options;

/** One draw for each state at t = 0.5, in one step. */
static inline mfm_posterior_options mfm_posterior_options_default(void) {
  mfm_posterior_options o;
  o.size = sizeof o;
  o.draw = mfm_draw_default();
  o.time = 0.5;
  o.draws = 1;
  o.steps = 1;
  return o;
}

/** Draws of p(x1 | x_t): clean data that a noisy state may have been. The draws of a state follow one another. States that are split over several
 * calls are given other draws than in one: give each call a stream of its own.
 * @param states [n, dimension] @param[out] draws [n * options.draws, dimension]
 * Errors: ::MFM_LENGTH, ::MFM_EMPTY, ::MFM_RANGE, ::MFM_NOT_FINITE, ::MFM_CANCELLED. */
MFM_API mfm_error* mfm_posterior(mfm_session* session, const float* states, size_t states_length, const mfm_posterior_options* options,
                                 float* draws, size_t draws_length) MFM_NOEXCEPT;

/** One question to the network: where does the flow of p(x1 | x_t), standing at x at time s, go until time u? */
typedef struct mfm_query {
  size_t size;          /**< sizeof(mfm_query). */
  double s;             /**< Where in time the flow stands, in [0, 1]; default 0. */
  double u;             /**< To where it goes, s <= u <= 1; default 1. */
  double t;             /**< The time of the states; default 0. */
  const size_t* labels; /**< As in ::mfm_draw. */
  size_t label_count;   /**< How many. */
  const double* guidance; /**< As in ::mfm_draw. */
  size_t guidance_count;  /**< How many. */
} mfm_query;

/** From noise to data in one step. */
static inline mfm_query mfm_query_default(void) {
  mfm_query q;
  q.size = sizeof q;
  q.s = 0.0;
  q.u = 1.0;
  q.t = 0.0;
  q.labels = MFM_NULL;
  q.label_count = 0;
  q.guidance = MFM_NULL;
  q.guidance_count = 0;
  return q;
}

/** The average velocity v_{s,u}(x; t, x_t), in the units of the data; at s = u the velocity itself. The map is x + (u - s) v. It is one evaluation of the network, of which neither
 * callback of the session is told.
 * @param x [n * k, dimension], k rows for each state @param states [n, dimension] @param[out] velocity of the shape of x
 * Errors: ::MFM_LENGTH, ::MFM_EMPTY, ::MFM_RANGE, ::MFM_NOT_FINITE. */
MFM_API mfm_error* mfm_velocity(mfm_session* session, const mfm_query* query, const float* x, size_t x_length, const float* states,
                                size_t states_length, float* velocity, size_t velocity_length) MFM_NOEXCEPT;
/** @} */

/** @name Rewards
 * @{ */

/** A reward r(x) of the host's. Samplers aim at the density p1(x) exp r(x). Called with [n, dimension]; answers ::MFM_OK, ::MFM_CANCELLED, or
 * anything else for failure (also 1 is ::MFM_CANCELLED: these are codes, no truth values). Runs on the thread that made the call, and must not call the same session.
 *
 * x, values and gradients are host memory, also where the model is on a GPU, from which x is copied then. Draws come in blocks of whole states: n is at most
 * 16384 and n * dimension at most 2^20, unless the draws of one state are more. The two sequential Monte Carlo methods ask for
 * all particles at once, and fine-tuning for all draws of a batch. */
typedef struct mfm_reward {
  size_t size;   /**< sizeof(mfm_reward). */
  void* context; /**< Handed to the callbacks. */
  /** Writes r of each item, [n]; -infinity forbids an item, NaN and +infinity are errors. Must not be NULL. */
  int (*value)(void* context, const float* x, size_t n, size_t dimension, float* values);
  /** Writes r, [n], and its gradient, [n, dimension]. NULL for a reward without one, for estimators that need none. */
  int (*value_and_gradient)(void* context, const float* x, size_t n, size_t dimension, float* values, float* gradients);
} mfm_reward;

/** No callbacks, of which `value` must be set. */
static inline mfm_reward mfm_reward_default(void) {
  mfm_reward r;
  r.size = sizeof r;
  r.context = MFM_NULL;
  r.value = MFM_NULL;
  r.value_and_gradient = MFM_NULL;
  return r;
}

/** How to estimate values. */
typedef struct mfm_value_options {
  size_t size;   /**< sizeof(mfm_value_options). */
  mfm_draw draw; /**< Noise and condition. */
  double time;   /**< The time t of the states, in [0, 1]; default 0.5. */
  size_t draws;  /**< Posterior draws for each state; default 256. */
  float* effective_sample_sizes; /**< Where the effective sample size of the draws of each state goes, [n]: from 1, where one draw has all the weight and
                                      the value is worth little, to `draws`; or 0 where every draw is impossible. NULL, the default, for nowhere. */
} mfm_value_options;

/** 256 draws at t = 0.5. */
static inline mfm_value_options mfm_value_options_default(void) {
  mfm_value_options o;
  o.size = sizeof o;
  o.draw = mfm_draw_default();
  o.time = 0.5;
  o.draws = 256;
  o.effective_sample_sizes = MFM_NULL;
  return o;
}

/** V_t(x) = log E[exp r(X1) | x_t = x] of each state; biased low at few draws; -infinity where the reward forbids all draws of a state.
 * @param states [n, dimension] @param[out] values [n] Errors: those of mfm_posterior(), and of the reward; ::MFM_NOT_FINITE also for states. */
MFM_API mfm_error* mfm_value(mfm_session* session, const mfm_reward* reward, const float* states, size_t states_length,
                             const mfm_value_options* options, float* values, size_t values_length) MFM_NOEXCEPT;

/** The value and its gradient by the state, in the units of the data, through the network; where the value is -infinity, the gradient takes all draws
 * of the state alike.
 * @param states [n, dimension] @param[out] values [n] @param[out] gradients [n, dimension]
 * Errors: those of mfm_value(); ::MFM_UNSUPPORTED for a reward without gradient. */
MFM_API mfm_error* mfm_value_and_gradient(mfm_session* session, const mfm_reward* reward, const float* states, size_t states_length,
                                          const mfm_value_options* options, float* values, size_t values_length, float* gradients,
                                          size_t gradients_length) MFM_NOEXCEPT;

/** A way to steer. */
typedef enum mfm_estimator {
  MFM_UNSTEERED = 0,         /**< Samples of the model itself. */
  MFM_DPS = 1,               /**< The reward's gradient at the posterior mean: the usual baseline. */
  MFM_GRADIENT = 2,          /**< MFM-G: the gradient of the value through posterior draws. */
  MFM_GRADIENT_FREE = 3,     /**< MFM-GF: weighted posterior draws; needs no gradient of the reward. */
  MFM_RESAMPLED = 4,         /**< Posterior draws chosen by weight; needs no gradient; exact in law for many draws. */
  MFM_MCMC = 5,              /**< Markov chains in the noise of the one-step map. */
  MFM_BEST_OF_N = 6,         /**< The best of several samples; needs no gradient. */
  MFM_SEQUENTIAL_MONTE_CARLO = 7,      /**< A population of weighted particles (twisted diffusion sampler). */
  MFM_VALUE_SEQUENTIAL_MONTE_CARLO = 8 /**< A population of particles weighed by their value, through posterior draws; needs no gradient. */
} mfm_estimator;

/** How the next state is made from a draw, for ::MFM_RESAMPLED, ::MFM_MCMC, ::MFM_VALUE_SEQUENTIAL_MONTE_CARLO and searches. */
typedef enum mfm_coupling {
  MFM_BRIDGE = 0,     /**< The Gaussian bridge. */
  MFM_SAME_NOISE = 1, /**< The noise that the state had. */
  MFM_FRESH_NOISE = 2 /**< Fresh noise. */
} mfm_coupling;

/** How to steer. */
typedef struct mfm_steer_options {
  size_t size;         /**< sizeof(mfm_steer_options). */
  mfm_draw draw;       /**< Noise and condition, one label and one scale at most. */
  uint32_t estimator;  /**< An ::mfm_estimator; default ::MFM_RESAMPLED. */
  size_t steps;        /**< Time steps; 0, the default: 100 for an ODE or SDE, 1 for best of n, 16 for MCMC and by values, else 8. */
  size_t draws;        /**< Posterior draws for each state, fresh starts of chains, candidates, for those that make some, which are all but ::MFM_UNSTEERED, ::MFM_DPS
                            and ::MFM_SEQUENTIAL_MONTE_CARLO; 0, the default: 32 if resampled, 8 for MCMC, else 16. */
  size_t moves;        /**< Chain moves at each time, for MCMC; default 4. */
  uint32_t coupling;   /**< An ::mfm_coupling; default ::MFM_BRIDGE. For those that it names. */
  uint32_t sde;        /**< 1 to integrate the SDE instead of the ODE (default 0), for the first four estimators, and instead of bridges for the last. */
  uint32_t heun;       /**< 1 for Heun instead of Euler (default 0), for the first four estimators. */
  double start;        /**< The first time of an ODE or SDE, for all that follow one, at which noise stands for the state; default 0.01. An ODE keeps an error of first order in it,
                            and may start at 0; an SDE forgets it, and may not. */
  double window_start; /**< Steer only from this time, for ::MFM_DPS, ::MFM_GRADIENT and ::MFM_GRADIENT_FREE; default 0. */
  double window_end;   /**< Steer only until this time, likewise; default 1. */
  double damping;      /**< A factor on the correction, likewise; default 1. */
  double rescale;      /**< Rescale each correction to this multiple of the drift's norm, likewise; 0, the default, for not. */
  double clip;         /**< Shorten each correction to at most this multiple of the drift's norm, likewise; 0, the default, for not. */
  double power;        /**< Above 1 the grid of times is finer at its start, below 1 at its end; default 1. */
  double threshold;    /**< Resample below this share of the particles, for sequential Monte Carlo; default 0.5. */
} mfm_steer_options;

/** Resampled steering in 8 steps of 32 draws. */
static inline mfm_steer_options mfm_steer_options_default(void) {
  mfm_steer_options o;
  o.size = sizeof o;
  o.draw = mfm_draw_default();
  o.estimator = MFM_RESAMPLED;
  o.steps = 0;
  o.draws = 0;
  o.moves = 4;
  o.coupling = MFM_BRIDGE;
  o.sde = 0;
  o.heun = 0;
  o.start = 0.01;
  o.window_start = 0.0;
  o.window_end = 1.0;
  o.damping = 1.0;
  o.rescale = 0.0;
  o.clip = 0.0;
  o.power = 1.0;
  o.threshold = 0.5;
  return o;
}

/** Samples of p1(x) exp r(x).
 *
 * Where the reward is -infinity a sample is forbidden, as far as the estimator can see it. ::MFM_RESAMPLED and ::MFM_BEST_OF_N choose a forbidden draw only for a
 * sample all of whose draws in the last step are forbidden, ::MFM_MCMC starts from none otherwise and moves to none; a particle of ::MFM_SEQUENTIAL_MONTE_CARLO and
 * ::MFM_VALUE_SEQUENTIAL_MONTE_CARLO that is forbidden has no offspring while another is allowed. ::MFM_GRADIENT and ::MFM_GRADIENT_FREE give forbidden draws
 * no weight, which leads away from them but promises nothing of the end. ::MFM_DPS follows the gradient alone and does not see it. If all that could have become
 * a sample is forbidden, of all samples, the call fails with ::MFM_NOT_FINITE; if that holds for some, these come out forbidden without an error.
 *
 * ::MFM_RANGE also for a window that ends before it starts, and for an option that this estimator ignores.
 * @param[out] samples [length / dimension, dimension]
 * Errors: those of mfm_sample(), and of the reward; ::MFM_UNSUPPORTED for an estimator that needs a gradient which the reward lacks. */
MFM_API mfm_error* mfm_steer(mfm_session* session, const mfm_reward* reward, const mfm_steer_options* options, float* samples,
                             size_t length) MFM_NOEXCEPT;

/** How to search. */
typedef struct mfm_search_options {
  size_t size;       /**< sizeof(mfm_search_options). */
  mfm_draw draw;     /**< Noise and condition. */
  size_t steps;      /**< Times at which draws are made; default 8. */
  size_t draws;      /**< Posterior draws for each particle at each time; default 16. */
  uint32_t coupling; /**< An ::mfm_coupling; default ::MFM_BRIDGE. */
  uint32_t keep_overall; /**< 1 if all particles go on from the best draw of all, 0 (the default) if each from its own. */
  double power;      /**< As in ::mfm_steer_options; default 1. */
} mfm_search_options;

/** 8 times, 16 draws, each particle on its own. */
static inline mfm_search_options mfm_search_options_default(void) {
  mfm_search_options o;
  o.size = sizeof o;
  o.draw = mfm_draw_default();
  o.steps = 8;
  o.draws = 16;
  o.coupling = MFM_BRIDGE;
  o.keep_overall = 0;
  o.power = 1.0;
  return o;
}

/** The best draw that each particle ever made, and its reward.
 * @param[out] samples [n, dimension], n being the number of particles @param[out] rewards [n] Errors: as mfm_steer(). */
MFM_API mfm_error* mfm_search(mfm_session* session, const mfm_reward* reward, const mfm_search_options* options, float* samples,
                              size_t samples_length, float* rewards, size_t rewards_length) MFM_NOEXCEPT;
/** @} */

/** @name Training
 * @{ */

/** A consistency loss: what makes jumps agree with the velocity. */
typedef enum mfm_consistency {
  MFM_SEMIGROUP = 0,  /**< Two jumps make one. */
  MFM_MEAN_FLOW = 1,  /**< The average velocity from the data's and a derivative along the path. */
  MFM_EULERIAN = 2,   /**< The same with the model's own velocity. */
  MFM_LAGRANGIAN = 3, /**< The end of a jump moves with the velocity there. */
  MFM_NO_CONSISTENCY = 4 /**< None: a flow model, whose jumps mean nothing. Sample it by ::MFM_METHOD_ODE or ::MFM_METHOD_SDE; the map, whose one step is the
                              default, and all that rests on posterior draws give numbers without an error, but with a warning in the log. */
} mfm_consistency;

/** How to train. */
typedef struct mfm_training_options {
  size_t size;           /**< sizeof(mfm_training_options). */
  uint64_t seed;         /**< Of all randomness of the run. */
  uint64_t steps;        /**< Default 3000 (1000 in fine-tuning). */
  size_t batch;          /**< Items in a batch; default 512. */
  double learning_rate;  /**< Its peak; default 1e-3 (2e-4 in fine-tuning); a cosine follows. */
  uint64_t warm_up;      /**< Steps over which it rises; default 100. */
  double weight_decay;   /**< Decoupled; default 0. */
  double average;        /**< Decay of the moving average of the weights, which is what is returned; default 0.999, 0 for none. */
  double clip;           /**< Largest norm of the gradient; default 1, 0 for no limit. */
  uint32_t consistency;  /**< An ::mfm_consistency; default ::MFM_SEMIGROUP. Training only. */
  double label_dropout;  /**< Share of labels that are dropped; default 0.1. Training with labels only. */
  double strength;       /**< A factor on the reward, above 0; default 1. Fine-tuning only. */
  size_t draws;          /**< Posterior draws of each noisy state. 0, the default, stands for 1, or for 4 with a reward without gradient, which needs at least 2. Fine-tuning only. */
  double follow;         /**< The weight of a loss by which posteriors and jumps follow the drift, at least 0; default 0, for none. Fine-tuning only. */
} mfm_training_options;

/** 3000 steps of 512. */
static inline mfm_training_options mfm_training_options_default(void) {
  mfm_training_options o;
  o.size = sizeof o;
  o.seed = 0;
  o.steps = 3000;
  o.batch = 512;
  o.learning_rate = 1e-3;
  o.warm_up = 100;
  o.weight_decay = 0.0;
  o.average = 0.999;
  o.clip = 1.0;
  o.consistency = MFM_SEMIGROUP;
  o.label_dropout = 0.1;
  o.strength = 1.0;
  o.draws = 0;
  o.follow = 0.0;
  return o;
}

/** 1000 steps of 512 at a lower rate. */
static inline mfm_training_options mfm_fine_tuning_options_default(void) {
  mfm_training_options o = mfm_training_options_default();
  o.steps = 1000;
  o.learning_rate = 2e-4;
  return o;
}

/** Trains from the session's model, which stays as it is, on data of the host's, whose columns should have similar scales near 1 if the model
 * has the coordinates of its data. A progress callback
 * that answers ::MFM_STOP ends it after that step, with the model so far.
 * @param data [length / dimension, dimension] @param labels one for each item, or NULL @param[out] trained a new model
 * Errors: ::MFM_LENGTH, ::MFM_EMPTY, ::MFM_RANGE, ::MFM_NOT_FINITE for data or losses, ::MFM_CANCELLED. */
MFM_API mfm_error* mfm_train(mfm_session* session, const float* data, size_t length, const size_t* labels, size_t label_count,
                             const mfm_training_options* options, mfm_model** trained) MFM_NOEXCEPT;

/** Tunes a copy of the session's model to p1(x) exp(strength r(x)), off policy: its drift becomes that of the tilted model. Sample it along the
 * ODE or SDE, not by the default of mfm_sample(): without `follow` its jumps and posteriors are left as they fall, and values and posterior draws are those of the model it came from alone.
 * Of a model with labels the drift without a label is tuned, and nothing is learned about labels.
 * @param reward with a gradient, which is followed through the map; or without: then the weights of several draws and where these lie tell the way,
 * which is better for rewards that are flat in most places, such as that of a sure classifier
 * @param data clean items from which noisy states are made, or NULL with length 0 for the model's own samples
 * @param[out] tuned a new model. Errors: as mfm_train(), and those of the reward. */
MFM_API mfm_error* mfm_fine_tune(mfm_session* session, const mfm_reward* reward, const float* data, size_t length,
                                 const mfm_training_options* options, mfm_model** tuned) MFM_NOEXCEPT;
/** @} */

/** @name DLPack
 * Tensors in and out without copies. A tensor that is handed in is the library's from then on, also if the call fails: it is deleted when it is
 * no longer needed, once. It must be float32, C-contiguous, [n, dimension], DLPack 1.x, on the session's device, and must not change until it is
 * deleted. A tensor that is handed out is the caller's, who calls its deleter; it may outlive session and model.
 *
 * On CUDA, all sessions of a model work on one stream of the library's own. With a stream of the host's in ::mfm_session_options, tensors are in
 * its order: what it has queued when a call begins is done before a tensor is read; what it queues after the call finds the results there, which
 * need not be there yet when the call returns (nor are they checked to be finite; a reward's x comes to the host, so mfm_steer_dlpack() waits for each
 * evaluation of it); when a tensor that was handed out is deleted, its memory is used again only after what the stream
 * has queued by then; and what it queues after a tensor that was handed in has been deleted comes after the library's reading. Without one, tensors must be
 * ready when they are handed in, and done with when they are deleted; results are there when the call returns.
 * @{ */

/** As mfm_sample(), `count` samples. @param[out] samples [count, dimension] Errors: as mfm_sample(). */
MFM_API mfm_error* mfm_sample_dlpack(mfm_session* session, const mfm_sample_options* options, size_t count,
                                     struct DLManagedTensorVersioned** samples) MFM_NOEXCEPT;

/** As mfm_posterior(). @param states [n, dimension], consumed @param[out] draws [n * options.draws, dimension]
 * Errors: as mfm_posterior(), and ::MFM_DLPACK. */
MFM_API mfm_error* mfm_posterior_dlpack(mfm_session* session, struct DLManagedTensorVersioned* states, const mfm_posterior_options* options,
                                        struct DLManagedTensorVersioned** draws) MFM_NOEXCEPT;

/** As mfm_steer(), `count` samples. @param[out] samples [count, dimension] Errors: as mfm_steer(). */
MFM_API mfm_error* mfm_steer_dlpack(mfm_session* session, const mfm_reward* reward, const mfm_steer_options* options, size_t count,
                                    struct DLManagedTensorVersioned** samples) MFM_NOEXCEPT;
/** @} */

#ifdef __cplusplus
}
#endif
#endif /* MFM_MFM_H */
