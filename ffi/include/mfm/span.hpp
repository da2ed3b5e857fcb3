/**
 * @file span.hpp
 * @brief Views of numbers that somebody else owns.
 */
#ifndef MFM_SPAN_HPP
#define MFM_SPAN_HPP

#include <cstddef>
#include <type_traits>
#include <utility>

/** Meta Flow Maps. */
namespace mfm {
/** Changes with the binary interface of what is inline here. */
inline namespace v1 {

class batch;

/** A view of `size()` elements that somebody else owns: of a std::vector, std::array, std::span or anything with data() and size(). */
template <class T>
class span {
 public:
  /** No elements. */
  constexpr span() noexcept = default;
  /** `size` elements at `data`. */
  constexpr span(T* data, std::size_t size) noexcept : data_(data), size_(size) {}
  /** All of a container; of a batch, whose size() counts items, see batch::numbers(). */
  template <class Container, class = std::enable_if_t<!std::is_same_v<std::remove_cv_t<std::remove_reference_t<Container>>, batch> &&
                                                      std::is_convertible_v<
                                                          std::remove_pointer_t<decltype(std::declval<Container&>().data())> (*)[], T (*)[]>>>
  constexpr span(Container&& container) noexcept : data_(container.data()), size_(container.size()) {}
  /** The first element. */
  constexpr T* data() const noexcept { return data_; }
  /** How many there are. */
  constexpr std::size_t size() const noexcept { return size_; }
  /** An element, which must be there. */
  constexpr T& operator[](std::size_t i) const noexcept { return data_[i]; }
  /** For loops. */
  constexpr T* begin() const noexcept { return data_; }
  /** For loops. */
  constexpr T* end() const noexcept { return data_ + size_; }

 private:
  T* data_ = nullptr;
  std::size_t size_ = 0;
};

/** Items in a row, as rewards receive them: [size(), dimension()]. */
class batch {
 public:
  /** `size` items of `dimension` numbers at `data`. */
  constexpr batch(const float* data, std::size_t size, std::size_t dimension) noexcept : data_(data), size_(size), dimension_(dimension) {}
  /** The first number of the first item. */
  constexpr const float* data() const noexcept { return data_; }
  /** How many items there are. */
  constexpr std::size_t size() const noexcept { return size_; }
  /** Numbers in each. */
  constexpr std::size_t dimension() const noexcept { return dimension_; }
  /** All of its numbers, size() * dimension() of them. */
  constexpr span<const float> numbers() const noexcept { return {data_, size_ * dimension_}; }
  /** An item, which must be there. */
  constexpr span<const float> operator[](std::size_t item) const noexcept { return {data_ + item * dimension_, dimension_}; }

 private:
  const float* data_;
  std::size_t size_, dimension_;
};

}  // namespace v1
}  // namespace mfm

#endif  // MFM_SPAN_HPP
