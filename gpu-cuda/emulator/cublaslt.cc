// A stand-in for cuBLASLt: the functions that the adapter calls, by plain loops over the emulated device's memory, as strict about what it is given as the
// library is: sizes of attributes, leading dimensions, operands that fit.
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <vector>

int emulator_enter(const char* name);
int emulator_submit(void* stream, std::function<void()> work);
void emulator_disturb();

namespace {

constexpr int SUCCESS = 0, INVALID_VALUE = 7, NOT_SUPPORTED = 15;
constexpr int F32 = 0, BF16 = 14, COMPUTE_F32 = 68, COMPUTE_TF32 = 77;
constexpr uint32_t EPILOGUE_DEFAULT = 1, EPILOGUE_BIAS = 4, EPILOGUE_GELU = 32, EPILOGUE_AUX = 128, EPILOGUE_BGRADB = 512,
                   EPILOGUE_DGELU = 64 | 128, EPILOGUE_DGELU_BGRAD = EPILOGUE_DGELU | 16;

struct Operation {
  int compute, scale;
  int32_t transpose[2] = {0, 0};
  uint32_t epilogue = EPILOGUE_DEFAULT;
  uint64_t bias = 0, aux = 0;
  int64_t aux_leading = 0;
};

struct Layout {
  int type;
  uint64_t rows, columns;
  int64_t leading;
  int32_t batch = 1;
  int64_t apart = 0;
};

struct Preference {
  uint64_t workspace = 0;
  uint32_t reductions = 7; // any
  uint32_t alignment[4] = {256, 256, 256, 256};
};

struct Proposal {
  uint64_t algorithm[8];
  size_t workspace;
  int state;
  float waves;
  int reserved[4];
};

template <class T>
int take(T& to, const void* value, size_t bytes) {
  if (bytes != sizeof(T)) return INVALID_VALUE;
  return memcpy(&to, value, bytes), SUCCESS;
}

float load(const unsigned char* data, int type, int64_t index) {
  if (type == F32) return reinterpret_cast<const float*>(data)[index];
  uint32_t bits = uint32_t(reinterpret_cast<const uint16_t*>(data)[index]) << 16;
  float value;
  return memcpy(&value, &bits, 4), value;
}

void store(unsigned char* data, int type, int64_t index, float value) {
  if (type == F32) {
    reinterpret_cast<float*>(data)[index] = value;
    return;
  }
  uint32_t bits;
  memcpy(&bits, &value, 4);
  bool nan = value != value;
  reinterpret_cast<uint16_t*>(data)[index] = nan ? uint16_t(bits >> 16 | 0x40) : uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

float tf32(float value) {
  uint32_t bits;
  memcpy(&bits, &value, 4);
  if ((bits & 0x7f800000) != 0x7f800000) bits = (bits + 0xfff + (bits >> 13 & 1)) & ~0x1fffu;
  return memcpy(&value, &bits, 4), value;
}

bool fits(const Operation& op, const Layout& a, const Layout& b, const Layout& d) {
  uint64_t m = op.transpose[0] ? a.columns : a.rows, k = op.transpose[0] ? a.rows : a.columns;
  uint64_t l = op.transpose[1] ? b.columns : b.rows, n = op.transpose[1] ? b.rows : b.columns;
  auto leads = [](const Layout& x) { return x.leading >= int64_t(x.rows); };
  return k == l && d.rows == m && d.columns == n && leads(a) && leads(b) && leads(d) && a.batch == d.batch && b.batch == d.batch && a.type == d.type &&
         b.type == d.type && (d.type == F32 || d.type == BF16);
}

// Whether the epilogue is one of those here, with what it needs.
bool has_its_operands(const Operation& op, const Layout& d) {
  const uint32_t gelu = op.epilogue & EPILOGUE_GELU, bias = op.epilogue & EPILOGUE_BIAS, aux = op.epilogue & EPILOGUE_AUX;
  const bool slope = op.epilogue == EPILOGUE_DGELU || op.epilogue == EPILOGUE_DGELU_BGRAD;
  const bool sums = op.epilogue == EPILOGUE_BGRADB || op.epilogue == EPILOGUE_DGELU_BGRAD;
  const bool known = op.epilogue == EPILOGUE_DEFAULT || sums || slope || op.epilogue == EPILOGUE_BIAS || (gelu && op.epilogue == (gelu | bias | aux));
  const bool vector = (!bias && !sums) || (op.bias != 0 && op.bias % 16 == 0);
  const bool matrix = !aux || (op.aux != 0 && op.aux % 16 == 0 && op.aux_leading % 8 == 0 && op.aux_leading >= int64_t(d.rows));
  return known && vector && matrix && (op.epilogue == EPILOGUE_DEFAULT || d.batch == 1);
}

// What is answered to a product with an epilogue, 0 for nothing of that kind: at the heuristics, or when it is multiplied.
std::atomic<int> refusal{0};
std::atomic<bool> is_late{false};
// The epilogue that it is answered to, also that of a plain product; 0 for all others.
std::atomic<uint32_t> refused_epilogue{0};

int refused(const Operation& op, bool late) {
  const uint32_t which = refused_epilogue;
  return (which == 0 ? op.epilogue != EPILOGUE_DEFAULT : which == op.epilogue) && late == is_late ? refusal.load() : SUCCESS;
}

float gelu_slope(float x) {
  const float t = tanhf(0.7978845608f * (x + 0.044715f * x * x * x));
  return 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * 0.7978845608f * (1.0f + 3.0f * 0.044715f * x * x);
}

float gelu(float x) { return 0.5f * x * (1.0f + tanhf(0.7978845608f * (x + 0.044715f * x * x * x))); }

} // namespace

#define API extern "C" __attribute__((visibility("default"))) int

extern "C" __attribute__((visibility("default"))) void emulator_refuse_epilogues(int code, int late, uint32_t which) {
  refusal = code, is_late = late != 0, refused_epilogue = which;
}

API cublasLtCreate(void** handle) {
  if (int code = emulator_enter("cublasLtCreate")) return code;
  return *handle = new char, SUCCESS;
}
// The library waits for the whole device.
API cublasLtDestroy(void* handle) { return emulator_disturb(), delete static_cast<char*>(handle), SUCCESS; }
API cublasLtMatmulDescCreate(Operation** op, int compute, int scale) {
  if ((compute != COMPUTE_F32 && compute != COMPUTE_TF32) || scale != F32) return INVALID_VALUE;
  return *op = new Operation{compute, scale}, SUCCESS;
}
API cublasLtMatmulDescDestroy(Operation* op) { return delete op, SUCCESS; }
API cublasLtMatmulDescSetAttribute(Operation* op, int which, const void* value, size_t bytes) {
  switch (which) {
    case 3: return take(op->transpose[0], value, bytes);
    case 4: return take(op->transpose[1], value, bytes);
    case 7: return take(op->epilogue, value, bytes);
    case 8: return take(op->bias, value, bytes);
    case 11: return take(op->aux, value, bytes);
    case 12: return take(op->aux_leading, value, bytes);
    default: return INVALID_VALUE;
  }
}
API cublasLtMatrixLayoutCreate(Layout** layout, int type, uint64_t rows, uint64_t columns, int64_t leading) {
  return *layout = new Layout{type, rows, columns, leading}, SUCCESS;
}
API cublasLtMatrixLayoutDestroy(Layout* layout) { return delete layout, SUCCESS; }
API cublasLtMatrixLayoutSetAttribute(Layout* layout, int which, const void* value, size_t bytes) {
  switch (which) {
    case 5: return take(layout->batch, value, bytes);
    case 6: return take(layout->apart, value, bytes);
    default: return INVALID_VALUE;
  }
}
API cublasLtMatmulPreferenceCreate(Preference** preference) { return *preference = new Preference, SUCCESS; }
API cublasLtMatmulPreferenceDestroy(Preference* preference) { return delete preference, SUCCESS; }
API cublasLtMatmulPreferenceSetAttribute(Preference* preference, int which, const void* value, size_t bytes) {
  if (which == 1) return take(preference->workspace, value, bytes);
  if (which == 3) return take(preference->reductions, value, bytes);
  return which >= 5 && which <= 8 ? take(preference->alignment[which - 5], value, bytes) : INVALID_VALUE;
}
API cublasLtMatmulAlgoGetHeuristic(void*, const Operation* op, const Layout* a, const Layout* b, const Layout*, const Layout* d, const Preference* preference,
                                   int requested, Proposal* proposals, int* count) {
  *count = 0;
  if (!fits(*op, *a, *b, *d) || !has_its_operands(*op, *d) || requested < 1) return INVALID_VALUE;
  if (int code = refused(*op, false)) return code;
  uint32_t element = d->type == F32 ? 4 : 2;
  for (uint32_t alignment : preference->alignment)
    if (alignment < element) return NOT_SUPPORTED;
  proposals[0] = Proposal{{0x6d666d, preference->alignment[0], preference->alignment[1], preference->alignment[2]}, 1024, SUCCESS, 1.0f, {}};
  return *count = 1, SUCCESS;
}
API cublasLtMatmul(void*, const Operation* op, const float* alpha, uint64_t a, const Layout* la, uint64_t b, const Layout* lb, const float* beta, uint64_t,
                   const Layout*, uint64_t d, const Layout* ld, const uint64_t* algorithm, uint64_t workspace, size_t bytes, void* stream) {
  // An algorithm for aligned operands must not be given others.
  bool aligned = a % algorithm[1] == 0 && b % algorithm[2] == 0 && d % algorithm[3] == 0;
  if (!fits(*op, *la, *lb, *ld) || !has_its_operands(*op, *ld) || algorithm[0] != 0x6d666d || !aligned || !workspace || bytes < 1024 || *beta != 0) return INVALID_VALUE;
  if (int code = refused(*op, true)) return code;
  Operation copy = *op;
  Layout A = *la, B = *lb, D = *ld;
  float factor = *alpha;
  return emulator_submit(stream, [=] {
    const unsigned char *pa = reinterpret_cast<const unsigned char*>(a), *pb = reinterpret_cast<const unsigned char*>(b);
    unsigned char* pd = reinterpret_cast<unsigned char*>(d);
    unsigned char *vector = reinterpret_cast<unsigned char*>(copy.bias), *aux = reinterpret_cast<unsigned char*>(copy.aux);
    int64_t depth = copy.transpose[0] ? A.rows : A.columns;
    auto round = [&](float x) { return copy.compute == COMPUTE_TF32 ? tf32(x) : x; };
    auto place_in_b = [&](int64_t k, int64_t j) { return copy.transpose[1] ? j + k * B.leading : k + j * B.leading; };
    for (int64_t j = 0; copy.epilogue == EPILOGUE_BGRADB && j < int64_t(D.columns); ++j) {
      double sum = 0;
      for (int64_t k = 0; k < depth; ++k) sum += load(pb, B.type, place_in_b(k, j));
      store(vector, D.type, j, float(sum));
    }
    const bool slope = copy.epilogue == EPILOGUE_DGELU || copy.epilogue == EPILOGUE_DGELU_BGRAD;
    std::vector<double> sums(D.rows);
    for (int64_t batch = 0; batch < D.batch; ++batch)
      for (int64_t j = 0; j < int64_t(D.columns); ++j)
        for (int64_t i = 0; i < int64_t(D.rows); ++i) {
          double sum = 0;
          for (int64_t k = 0; k < depth; ++k) {
            int64_t ia = copy.transpose[0] ? k + i * A.leading : i + k * A.leading;
            sum += double(round(load(pa, A.type, batch * A.apart + ia))) * round(load(pb, B.type, batch * B.apart + place_in_b(k, j)));
          }
          float value = factor * float(sum);
          if (copy.epilogue & EPILOGUE_BIAS) value += load(vector, D.type, i);
          if (slope) value *= gelu_slope(load(aux, D.type, i + j * copy.aux_leading));
          sums[i] += value;
          if (!slope && (copy.epilogue & EPILOGUE_AUX)) store(aux, D.type, i + j * copy.aux_leading, value);
          if (copy.epilogue & EPILOGUE_GELU) value = gelu(value);
          store(pd, D.type, batch * D.apart + i + j * D.leading, value);
        }
    for (size_t i = 0; copy.epilogue == EPILOGUE_DGELU_BGRAD && i < D.rows; ++i) store(vector, D.type, int64_t(i), float(sums[i]));
  });
}
