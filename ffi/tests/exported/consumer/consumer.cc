#include <cstdio>

float mean_of_samples(const char* path);

int main(int, char** arguments) {
  std::printf("4 samples, whose mean is %.3f\n", static_cast<double>(mean_of_samples(arguments[1])));
  return 0;
}
