/**
 * @file span.hpp
 * @brief Views of numbers that somebody else owns.
 */
#ifndef MFM_SPAN_HPP
#define MFM_SPAN_HPP

#include <cstddef>
#include <type_traits>
#include <utility>
#if __cplusplus >= 202002L
#include <version>
#if defined(__cpp_lib_ranges)
#include <ranges>
#endif
#endif

/** Meta Flow Maps. */
namespace mfm {
/** Changes with the binary interface of what is inline here. */
inline namespace v1 {

class batch;

/** @cond */
/// Whether a container owns its elements: then its own constness is theirs.
template <class Container, class = void>
struct is_owner : std::false_type {};
template <class Container>
struct is_owner<Container, std::void_t<decltype(std::declval<Container&>().data())>>
    : std::bool_constant<!std::is_same_v<decltype(std::declval<Container&>().data()), decltype(std::declval<const Container&>().data())>> {};
/// Whether an argument is one that is gone after the call, with its elements.
template <class Argument>
constexpr bool is_lost = !std::is_reference_v<Argument> && is_owner<std::remove_cv_t<Argument>>::value;
/** @endcond */

/** A view of `size()` elements that somebody else owns: of a std::vector, std::array, std::span, an array or anything with data() and size(). */
template <class T>
class span {
 public:
  /** No elements. */
  constexpr span() noexcept = default;
  /** `count` elements, of which this is the first. */
  constexpr span(T* first, std::size_t count) noexcept : data_(first), size_(count) {}
  /** All of an array. */
  template <std::size_t N>
  constexpr span(T (&array)[N]) noexcept : data_(array), size_(N) {}
  /** All of a container; of a batch, whose size() counts items, see batch::numbers(). A temporary one serves to read from alone: what were written into it
   * would be lost. */
  template <class Container, class = std::enable_if_t<!std::is_same_v<std::remove_cv_t<std::remove_reference_t<Container>>, batch> &&
                                                      (std::is_const_v<T> || !is_lost<Container>) &&
                                                      std::is_convertible_v<
                                                          std::remove_pointer_t<decltype(std::declval<Container&>().data())> (*)[], T (*)[]>>>
  constexpr span(Container&& container) noexcept : data_(container.data()), size_(container.size()) {}
  /** The first element. */
  constexpr T* data() const noexcept { return data_; }
  /** How many there are. */
  constexpr std::size_t size() const noexcept { return size_; }
  /** Whether there are none. */
  constexpr bool empty() const noexcept { return size_ == 0; }
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
  /** Goes from item to item. */
  class iterator {
   public:
    /** At an item of `numbers` numbers. */
    constexpr iterator(const float* item, std::size_t numbers) noexcept : item_(item), numbers_(numbers) {}
    /** The item. */
    constexpr span<const float> operator*() const noexcept { return {item_, numbers_}; }
    /** To the next. */
    constexpr iterator& operator++() noexcept {
      item_ += numbers_;
      return *this;
    }
    /** Whether two are apart. */
    constexpr bool operator!=(const iterator& other) const noexcept { return item_ != other.item_; }

   private:
    const float* item_;
    std::size_t numbers_;
  };

  /** `count` items of so many numbers each, of which this is the first. */
  constexpr batch(const float* first, std::size_t count, std::size_t numbers_in_each) noexcept
      : data_(first), size_(count), dimension_(numbers_in_each) {}
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
  /** For loops over items. */
  constexpr iterator begin() const noexcept { return {data_, dimension_}; }
  /** For loops over items. */
  constexpr iterator end() const noexcept { return {data_ + size_ * dimension_, dimension_}; }

 private:
  const float* data_;
  std::size_t size_, dimension_;
};

}  // namespace v1
}  // namespace mfm

#if defined(__cpp_lib_ranges)
/** @cond */
// As std::span is, so that a std::span can be made of one that is a temporary: of the arguments of a reward, for one.
template <class T>
constexpr bool std::ranges::enable_borrowed_range<mfm::span<T>> = true;
template <class T>
constexpr bool std::ranges::enable_view<mfm::span<T>> = true;
/** @endcond */
#endif

#endif  // MFM_SPAN_HPP
