// Functions of numbers.
#pragma once

#include "device.cuh"

__device__ __forceinline__ float infinity() { return __uint_as_float(0x7f800000u); }

// 1/(1 + e⁻ˣ). A division by IEEE's rules would branch to its rare cases in every lane, and cost more than all the rest.
__device__ __forceinline__ float sigmoid(float x) { return fast_reciprocal(1.0f + expf(-x)); }

// The larger of the two, NaN if one of them is.
__device__ __forceinline__ float larger(float a, float b) { return b > a || b != b ? b : a; }

__device__ __forceinline__ float unary(int op, float constant, float x) {
  switch (op) {
    case UNARY_NEG: return -x;
    case UNARY_ABS: return fabsf(x);
    case UNARY_EXP: return expf(x);
    case UNARY_LOG: return logf(x);
    case UNARY_SQRT: return sqrtf(x);
    case UNARY_RECIP: return 1.0f / x;
    case UNARY_SQUARE: return x * x;
    case UNARY_SIN: return sinf(x);
    case UNARY_COS: return cosf(x);
    case UNARY_TANH: return tanhf(x);
    case UNARY_SIGMOID: return sigmoid(x);
    case UNARY_SCALE: return constant * x;
    default: return x + constant;
  }
}

__device__ __forceinline__ float binary(int op, float a, float b) {
  switch (op) {
    case BINARY_ADD: return a + b;
    case BINARY_SUB: return a - b;
    case BINARY_MUL: return a * b;
    case BINARY_DIV: return a / b;
    case BINARY_EQUAL: return a == b ? 1.0f : 0.0f;
    case BINARY_LESS: return a < b ? 1.0f : 0.0f;
    default: return a <= b ? 1.0f : 0.0f;
  }
}

// 2 √(2/π) and 0.044715, of GELU in its tanh form: x sigmoid(2 √(2/π) (x + 0.044715 x³)).
constexpr float GELU_RATE = 1.5957691216057308f;
constexpr float GELU_CUBE = 0.044715f;

__device__ __forceinline__ float activation(int op, float x) {
  switch (op) {
    case ACTIVATION_SILU: return x * sigmoid(x);
    case ACTIVATION_GELU: return x * sigmoid(GELU_RATE * ((GELU_CUBE * x * x + 1.0f) * x));
    case ACTIVATION_TANH: return tanhf(x);
    default: return x;
  }
}

// The derivative of `activation`.
__device__ __forceinline__ float activation_slope(int op, float x) {
  switch (op) {
    case ACTIVATION_SILU: {
      const float s = sigmoid(x);
      return s + x * s * (1.0f - s);
    }
    case ACTIVATION_GELU: {
      const float s = sigmoid(GELU_RATE * ((GELU_CUBE * x * x + 1.0f) * x));
      return s + x * s * (1.0f - s) * GELU_RATE * (3.0f * GELU_CUBE * x * x + 1.0f);
    }
    case ACTIVATION_TANH: {
      const float y = tanhf(x);
      return 1.0f - y * y;
    }
    default: return 1.0f;
  }
}
