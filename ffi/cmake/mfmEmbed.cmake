# mfm_embed(TARGET FILE NAME): compiles FILE into TARGET as
#
#   extern "C" const unsigned char NAME[];
#   extern "C" const size_t NAME_size;
#
# for mfm_model_load_memory() or mfm::model::load_memory().
function(mfm_embed target file name)
  get_filename_component(file ${file} ABSOLUTE)
  set(source ${CMAKE_CURRENT_BINARY_DIR}/${name}.c)
  file(READ ${file} bytes HEX)
  string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
  file(SIZE ${file} size)
  file(CONFIGURE OUTPUT ${source} @ONLY CONTENT
    "#include <stddef.h>\n_Alignas(64) const unsigned char @name@[] = {@bytes@};\nconst size_t @name@_size = @size@;\n")
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
  target_sources(${target} PRIVATE ${source})
endfunction()
