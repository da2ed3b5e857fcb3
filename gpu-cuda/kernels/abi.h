// What the adapter and the kernels agree on: the argument of each kernel, and the numbers of the operations.
//
// Every kernel takes one of these structs by value as its only parameter. `gpu-cuda/src/abi.rs` mirrors this file field by field, and a test
// compares sizes. Strides are in elements. Rules of launching are in README.md.
#pragma once

#define MFM_MAX_RANK 6
#define MFM_MAX_INPUTS 8

// The elements that a kernel goes through: axes outermost first, merged by the adapter as far as the operands allow, none of length 1.
// rank 0 means one element. `elements` is the product of the lengths, and above 0.
struct Space {
  long long elements;
  long long length[MFM_MAX_RANK];
  int rank;
  int reserved;
};

// Where an operand's elements lie: the address of its first one, and a stride for each axis of the space, 0 where it is stretched.
struct View {
  const void* data;
  long long stride[MFM_MAX_RANK];
};

// The numbers of the operations ----------------------------------------------------------------------------------------------------------

enum UnaryOp { UNARY_NEG, UNARY_ABS, UNARY_EXP, UNARY_LOG, UNARY_SQRT, UNARY_RECIP, UNARY_SQUARE, UNARY_SIN, UNARY_COS, UNARY_TANH,
               UNARY_SIGMOID, UNARY_SCALE, UNARY_SHIFT };
enum BinaryOp { BINARY_ADD, BINARY_SUB, BINARY_MUL, BINARY_DIV, BINARY_EQUAL, BINARY_LESS, BINARY_LESS_EQUAL };
enum ReduceOp { REDUCE_SUM, REDUCE_MAX, REDUCE_SQUARES }; // REDUCE_SQUARES: Σ x², of reduce_rows alone
enum ActivationOp { ACTIVATION_IDENTITY, ACTIVATION_SILU, ACTIVATION_GELU, ACTIVATION_TANH };
enum OptimiserOp { OPTIMISER_ADAM, OPTIMISER_PLAIN };

// elementwise.cu -------------------------------------------------------------------------------------------------------------------------

// unary_T: out[i] = op(x[i]); out is contiguous over the space, here and wherever it is a plain pointer.
struct UnaryArgs {
  Space space;
  View x;
  void* out;
  float constant; // of UNARY_SCALE and UNARY_SHIFT
  int op;
};

// binary_T: out[i] = op(a[i], b[i]); comparisons give 1 or 0.
struct BinaryArgs {
  Space space;
  View a, b;
  void* out;
  int op;
  int reserved;
};

// select_T: out[i] = mask[i] != 0 ? yes[i] : no[i] (a NaN mask is not zero).
struct SelectArgs {
  Space space;
  View mask, yes, no;
  void* out;
};

// combine_T: out[i] = Σ factor[k] x[k][i] over k < terms, in this order, accumulated in f32.
struct CombineArgs {
  Space space;
  View x[MFM_MAX_INPUTS];
  void* out;
  float factor[MFM_MAX_INPUTS];
  int terms;
  int reserved;
};

// activate_T: out = act(x). activate_vjp_T: out = act'(x) g. activate_jvp_T: out = act(x) and tangent = act'(x) g. All contiguous.
struct ActivateArgs {
  long long elements;
  const void* x;
  const void* g;
  void* out;
  void* tangent;
  int op; // ActivationOp
  int reserved;
};

// residual.cu ----------------------------------------------------------------------------------------------------------------------------

// gated_residual_T: out = x + gate · branch. gated_residual_jvp_T: out as well, and
// tangent = tx + tgate · branch + gate · tbranch, where an operand with data 0 is zero.
struct GatedResidualArgs {
  Space space;
  View x, gate, branch;
  View tx, tgate, tbranch; // jvp only
  void* out;
  void* tangent; // jvp only
};

// gated_residual_vjp_T: gbranch = gate · g unless 0, and sums[part, i, c] = Σ g branch in f32, over the rows of group i in the part-th of gridDim.y runs of
// ⌈group/parts⌉. The space is that of the result, its last axis kept apart as in norm.cu; `gate`, which has strides over it, is one row for each `group`
// neighbouring rows. g, branch and gbranch are contiguous; everything goes by 16 bytes: rows are whole vectors, addresses and the gate's strides, but for those
// of 0 and the last one of 1, multiples of 16 bytes.
struct GatedResidualVjpArgs {
  Space space;
  View gate;
  const void* g;
  const void* branch;
  void* gbranch;
  float* sums;
  long long group;
};

// copy.cu --------------------------------------------------------------------------------------------------------------------------------

// copy_T: to[i] = from[i]; `to` never overlaps `from`, and no two of its elements coincide. Concatenation is at most one copy a part, into
// strided places of one buffer; contiguous copies of views are the same.
struct CopyArgs {
  Space space;
  View from;
  View to; // written to
};

// convert_A_B: to[i] = from[i] in another type, to nearest even; both contiguous.
struct ConvertArgs {
  long long elements;
  const void* from;
  void* to;
};

// fill_T: out[i] = value.
struct FillArgs {
  long long elements;
  void* out;
  float value;
  int reserved;
};

// reduce.cu ------------------------------------------------------------------------------------------------------------------------------

// out[part · space.elements + i] = op over j of x[i, j], j in the part-th of `parts` runs of ⌈length/parts⌉ entries, rounded up to 16 (a run may be empty), x[i, j] at
// x.data + offset(i) + j · stride. The space is of the outputs.
// reduce_rows_S_T: a block per output and part (grid.x strides over outputs, grid.y = parts).
// reduce_columns_S_T: a block for 32 outputs, or 32 vectors of them, and a part (grid.x strides over outputs, grid.y = parts).
// S_T in f32_f32, bf16_bf16, bf16_f32 (first of two passes), f32_bf16 (second).
struct ReduceArgs {
  Space space;
  View x;
  long long length;
  long long stride;
  void* out;
  int op;
  int parts;
};

// index.cu -------------------------------------------------------------------------------------------------------------------------------

// gather_T: the space is of the output; along `axis` the coordinate c reads x at index[c] instead. All indices are known to be inside.
// If rank is 0 the output is one element: it reads index[0], x.stride[0] being the stride of the axis (axis = 0).
struct GatherArgs {
  Space space;
  View x;
  const long long* index;
  void* out;
  int axis;
  int reserved;
};

// scatter_add_T: the space is of the output, its axes not merged across `axis`; out[.., c, ..] = Σ x[.., order[p], ..] over
// p in start[c] .. start[c + 1], in this order. So the sum is the same each time. (rank 0: c = 0, x.stride[0] is the axis's stride.)
struct ScatterAddArgs {
  Space space;
  View x;
  const long long* start; // length of the axis + 1
  const long long* order;
  void* out;
  int axis;
  int reserved;
};

// gemm.cu --------------------------------------------------------------------------------------------------------------------------------

// gemm_T: out[b, i, j] = Σ_k a[b, i, k] b[b, k, j], accumulated in f32, for any strides; out is contiguous [batch, m, n]. k may be 0.
struct GemmArgs {
  Space batch;
  View a, b; // strides over the batch
  long long m, n, k;
  long long a_row, a_column; // strides of i and k
  long long b_row, b_column; // strides of k and j
  void* out;
};

// epilogue_T: z = product + bias; pre = z (unless 0); out = act(z). Row-major [rows, columns]; bias (0: none) is contiguous. out may be product.
struct EpilogueArgs {
  long long rows, columns;
  const void* product;
  const void* bias;
  void* pre;
  void* out;
  int op; // ActivationOp
  int reserved;
};

// norm.cu --------------------------------------------------------------------------------------------------------------------------------

// Rows of `width` along the last axis. The space is x's shape with the last axis kept apart, so rank ≥ 1 and length[rank − 1] = width (even if it is 1);
// scale and shift have strides over it. x, g and the results are contiguous. mean and rate = 1/√(variance + ε) are f32, one for each row.
// layer_norm_T: out = (x − mean) rate (1 + scale) + shift; writes mean and rate unless they are 0.
// layer_norm_vjp_T: with n = (x − mean) rate and h = g (1 + scale): gx = rate (h − avg h − n avg(h n)) unless gx is 0; gscale = g n unless it is 0.
// layer_norm_vjp_sums_T: gx as above, and for scale and shift that are one row for each `group` neighbouring rows sums[part, 0, i, c] = Σ g n and
// sums[part, 1, i, c] = Σ g in f32, over the rows of group i in the part-th of gridDim.y runs of ⌈group/parts⌉. Rows are of at most 1,280 columns;
// everything goes by 16 bytes, as in gated_residual_vjp.
// layer_norm_jvp_T: out as above, and tangent = (1 + scale) rate (tx − avg tx − n avg(tx n)) + n tscale + tshift; a missing tangent has data 0.
struct LayerNormArgs {
  Space space;
  const void* x;
  View scale, shift;
  float* mean;
  float* rate;
  void* out;
  const void* g; // vjp
  void* gx;
  void* gscale;
  float* sums; // vjp_sums
  long long group;
  const void* tx; // jvp; contiguous like x
  View tscale, tshift;
  void* tangent;
  float epsilon;
  int reserved;
};

// softmax.cu -----------------------------------------------------------------------------------------------------------------------------

// Rows of `width` > 0, contiguous. In all of these a maximum of −∞ counts as 0, so that a row of −∞ gives what the formula says (0/0, ln 0).
// softmax_T: out = e^(x − max)/Σ. softmax_gradient_T (vjp and jvp are the same map): out = y (g − Σ g y).
// log_mean_exp_T: value[row] = ln((1/width) Σ e^(x − max)) + max; weights = softmax of the row, unless 0.
// row_dots_T: value[row] = Σ x y.
struct RowsArgs {
  long long rows, width;
  const void* x;
  const void* y;
  const void* g;
  void* out;     // softmax, softmax_gradient
  void* value;   // log_mean_exp, row_dots
  void* weights; // log_mean_exp
};

// attention.cu ---------------------------------------------------------------------------------------------------------------------------

// softmax(q kᵀ/√d) v for each batch entry: q, g, out and their like have `queries` rows of d, k, v and theirs `keys` rows. Rows are `row` elements apart, with unit
// stride inside. What is read goes by 16 bytes: addresses, `row` and the strides of the batch are multiples of 16 bytes, and the numbers after a row's last up to
// such a multiple are zeros. Names end in a capacity C up to 128, a multiple of 16 for bf16 and of 32 for f32: attention_bf16_80 serves d in 65..80, attention_f32_96
// d in 65..96; d is `width`. queries and keys are below 2^31. Those in `AttentionArgs` that a kernel does not name are not looked at.
// attention_T_C: out from q, k, v, and logsum[batch, query] = log₂ Σ e^s in f32 unless 0.
// attention_vjp_query_T_C: delta[batch, query] = Σ_c g out (f32), and gq unless its data is 0, from q, k, v, g, out and logsum, recomputing the weights.
// attention_vjp_key_T_C: gk and gv (either may have data 0), likewise, and from that delta.
// attention_jvp_T_C: out and tangent; a missing tangent has data 0.
struct Rows {
  View batch; // strides over the batch space
  long long row;
};
struct AttentionArgs {
  Space batch;
  Rows q, k, v;
  Rows tq, tk, tv;
  Rows g;
  Rows out, tangent;
  Rows gq, gk, gv;
  long long queries, keys;
  float* logsum; // contiguous [batch, queries]
  float* delta;  // likewise
  int width;     // d
  int reserved;
};

// noise.cu -------------------------------------------------------------------------------------------------------------------------------

// mfm_core::Noise. noise_words: out[i] (64 bits) is the word at `offset` + i (wrapping). noise_normal_T: the normal number at `offset` + i, by Box–Muller on
// the words 2j and 2j + 1, from the words' upper 53 bits; within 1e-6 of f64.
struct NoiseArgs {
  unsigned int seed[8]; // little-endian words of the 32 bytes
  unsigned long long stream;
  unsigned long long offset;
  long long elements;
  void* out;
};

// optimiser.cu ---------------------------------------------------------------------------------------------------------------------------

// optimiser_G_T: one step of mfm_nn::Optimiser on all parameters, `elements` of them, and the moving average, in one pass; the gradient is
// in G, the state in T.
// Outputs may be the inputs.
//   m = β₁ m + (1 − β₁) g;  v = β₂ v + (1 − β₂) g²;  θ = keep θ − step d;  average = decay average + (1 − decay) θ
//   d = m/(√v + ε) of OPTIMISER_ADAM, m of OPTIMISER_PLAIN; `step`, `keep`, `epsilon` come ready from the host, and so does 1 − β, which 32 bits of a β near 1
//   do not tell.
struct OptimiserArgs {
  long long elements;
  const void* parameters;
  const void* gradient;
  const void* first;
  const void* second;
  const void* average; // 0: none
  void* new_parameters;
  void* new_first;
  void* new_second;
  void* new_average;
  void* working; // new_parameters in bf16, of states in f32; 0: not asked for
  float* sums; // [gridDim.x]: of each block, Σ new_parameters of its share, in f32
  float first_decay, first_rest; // β₁, 1 − β₁
  float second_decay, second_rest;
  float average_decay, average_rest;
  float epsilon, step, keep;
  int op;
};
