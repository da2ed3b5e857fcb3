# mfm_embed(TARGET FILE NAME): compiles FILE into TARGET as
#
#   extern "C" const unsigned char NAME[];
#   extern "C" const size_t NAME_size;
#
# for mfm_model_load_memory() or mfm::model::load_memory().
function(mfm_embed target file name)
  # In a language that this directory knows: a source of another would be left out of the target without a word.
  if(CMAKE_C_COMPILER_LOADED)
    set(source ${CMAKE_CURRENT_BINARY_DIR}/${name}.c)
  elseif(CMAKE_CXX_COMPILER_LOADED)
    set(source ${CMAKE_CURRENT_BINARY_DIR}/${name}.cc)
  else()
    message(FATAL_ERROR "mfm_embed(${target}): C or C++ is needed, enable one of them by project() or enable_language()")
  endif()
  get_filename_component(file ${file} ABSOLUTE)
  file(READ ${file} bytes HEX)
  string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
  file(SIZE ${file} size)
  file(CONFIGURE OUTPUT ${source} @ONLY CONTENT
"#include <stddef.h>
#ifdef __cplusplus
extern \"C\" {
extern const unsigned char @name@[];
extern const size_t @name@_size;
}
alignas(64)
#else
_Alignas(64)
#endif
const unsigned char @name@[] = {@bytes@};
const size_t @name@_size = @size@;
")
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
  target_sources(${target} PRIVATE ${source})
endfunction()
