/**
 * @file path.hpp
 * @brief Paths of files, as hosts have them.
 */
#ifndef MFM_PATH_HPP
#define MFM_PATH_HPP

#include <cstddef>
#include <string_view>
#include <type_traits>
#include <utility>

namespace mfm {
inline namespace v1 {

/** A view of a path in UTF-8: of a string, a literal, a std::string_view or a std::filesystem::path, whose header is not needed for it. */
class path_view {
  template <class P>
  static constexpr bool is_text = std::is_convertible_v<const P&, std::string_view>;
  template <class P, class = void>
  struct has_native : std::false_type {};
  template <class P>
  struct has_native<P, std::enable_if_t<std::is_convertible_v<decltype(std::declval<const P&>().native()), std::string_view>>> : std::true_type {};

 public:
  /** All of it. */
  template <class P, class = std::enable_if_t<is_text<P> || has_native<P>::value>>
  path_view(const P& path) noexcept {
    if constexpr (is_text<P>) {
      text_ = path;
    } else {
      text_ = path.native();
    }
  }
  /** Its first byte. */
  const char* data() const noexcept { return text_.data(); }
  /** How many bytes there are. */
  std::size_t size() const noexcept { return text_.size(); }

 private:
  std::string_view text_;
};

}  // namespace v1
}  // namespace mfm

#endif  // MFM_PATH_HPP
