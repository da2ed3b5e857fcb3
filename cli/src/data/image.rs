//! One image, from a PNG or JPEG file.

use super::Dataset;
use crate::failure::{Failure, Result};
use png::{BitDepth, ColorType, DecodingError, Transformations};
use std::io::Cursor;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// The largest height and width, so that no header makes us take more memory than that of one such image.
pub const LARGEST_SIDE: usize = 1024;

/// What a decoder may take beside the image itself.
const ROOM: usize = 32 << 20;

/// Whether a file of this name, in lower case, is an image.
pub(super) fn is_image(name: &str) -> bool {
    [".png", ".jpg", ".jpeg"].iter().any(|ending| name.ends_with(ending))
}

/// The channels, height and width of so many numbers as a square image, grey if it can be, else of three colours.
pub fn square(numbers: usize) -> Option<[usize; 3]> {
    let of = |channels: usize| {
        let side = (numbers / channels).isqrt();
        (channels * side * side == numbers).then_some([channels, side, side])
    };
    of(1).or_else(|| of(3))
}

/// A grey (one channel) or colour (three) image of values from −1 to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// Channels, height and width.
    pub shape: [usize; 3],
    /// The values: channel after channel, each row by row from the top.
    pub values: Vec<f32>,
}

impl Image {
    /// The image in the bytes of a PNG or JPEG file named `source`, whatever the name: 0 becomes −1, and the largest sample 1. An alpha channel may
    /// be there if it hides nothing.
    ///
    /// # Errors
    /// One sentence naming the file: it is damaged, cut off, larger than [`LARGEST_SIDE`], or neither grey nor RGB.
    pub fn read(bytes: &[u8], source: &str) -> Result<Self> {
        let image = match bytes {
            [] => Err("the file is empty".into()),
            [0x89, b'P', b'N', b'G', ..] => png(bytes),
            [0xff, 0xd8, ..] => jpeg(bytes),
            _ => Err("this is neither a PNG nor a JPEG image".into()),
        };
        image.map_err(|what: String| Failure::input(format!("{source}: {what}")))
    }

    /// The image as the only row of a data set.
    pub(super) fn into_dataset(self, source: &str) -> Dataset {
        let dimension = self.values.len();
        Dataset { rows: self.values, dimension, image: Some(self.shape), source: source.to_owned(), ..Dataset::default() }
    }

    /// Puts samples that are interleaved (all channels of a pixel beside one another, of which those beyond `channels` are left out) in order.
    fn from_interleaved(samples: &[f32], stride: usize, [channels, height, width]: [usize; 3]) -> Self {
        let channel = |c| samples.iter().skip(c).step_by(stride).copied();
        Self { shape: [channels, height, width], values: (0..channels).flat_map(channel).collect() }
    }
}

fn check_size(width: usize, height: usize) -> Result<(), String> {
    if width.max(height) > LARGEST_SIDE {
        return Err(format!("it is of {width} × {height} pixels, but at most {LARGEST_SIDE} × {LARGEST_SIDE} are read"));
    }
    Ok(())
}

fn png(bytes: &[u8]) -> Result<Image, String> {
    let complain = |error: DecodingError| match error {
        DecodingError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => "the PNG image is cut off".to_owned(),
        DecodingError::LimitsExceeded => "the PNG image would take more memory than it may".to_owned(),
        other => format!("the PNG image is damaged ({other})"),
    };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), png::Limits { bytes: ROOM });
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    decoder.set_transformations(Transformations::EXPAND);
    let header = decoder.read_header_info().map_err(complain)?;
    check_size(header.width as usize, header.height as usize)?;
    let mut reader = decoder.read_info().map_err(complain)?;
    let mut buffer = vec![0; reader.output_buffer_size().ok_or("the PNG image is too large")?];
    let info = reader.next_frame(&mut buffer).map_err(complain)?;
    reader.finish().map_err(complain)?;
    buffer.truncate(info.buffer_size());
    let (channels, has_alpha) = match info.color_type {
        ColorType::Grayscale => (1, false),
        ColorType::GrayscaleAlpha => (1, true),
        ColorType::Rgb => (3, false),
        ColorType::Rgba => (3, true),
        ColorType::Indexed => return Err("the PNG image has colours without a palette".into()),
    };
    let samples: Vec<f32> = match info.bit_depth {
        BitDepth::Sixteen => buffer.as_chunks().0.iter().map(|pair| f32::from(u16::from_be_bytes(*pair)) / 32767.5 - 1.0).collect(),
        _ => buffer.into_iter().map(from_byte).collect(),
    };
    let stride = channels + usize::from(has_alpha);
    if has_alpha && let Some(pixel) = samples.iter().skip(channels).step_by(stride).position(|alpha| *alpha < 1.0) {
        let (row, column) = (pixel / info.width as usize, pixel % info.width as usize);
        return Err(format!("its pixel in row {}, column {} is transparent, but only grey and RGB images are read", row + 1, column + 1));
    }
    Ok(Image::from_interleaved(&samples, stride, [channels, info.height as usize, info.width as usize]))
}

fn jpeg(bytes: &[u8]) -> Result<Image, String> {
    let complain = |error: DecodeErrors| match error {
        DecodeErrors::IoErrors(_) | DecodeErrors::ExhaustedData => "the JPEG image is cut off".to_owned(),
        other => format!("the JPEG image is damaged ({})", other.to_string().trim_matches(['"', '\n'])),
    };
    // Whatever the size, the headers take no memory.
    let any = usize::from(u16::MAX);
    let options = DecoderOptions::new_safe().set_strict_mode(true).set_max_width(any).set_max_height(any);
    let mut decoder = JpegDecoder::new_with_options(Cursor::new(bytes), options);
    decoder.decode_headers().map_err(complain)?;
    let (width, height) = decoder.dimensions().ok_or("the JPEG image has no size")?;
    check_size(width, height)?;
    let (channels, colours) = match decoder.input_colorspace() {
        Some(ColorSpace::Luma) => (1, ColorSpace::Luma),
        Some(ColorSpace::YCbCr | ColorSpace::RGB) => (3, ColorSpace::RGB),
        other => {
            let name = other.map(|space| format!("{space:?}")).unwrap_or_default();
            return Err(format!("the JPEG image has {name} colours, but only grey and RGB images are read"));
        }
    };
    // A scan without an end of image after it: the decoder fills what is missing with grey.
    let last = |marker: u8| bytes.windows(2).rposition(|pair| pair == [0xff, marker]);
    if last(0xd9) < last(0xda) {
        return Err("the JPEG image is cut off".into());
    }
    decoder.set_options(options.jpeg_set_out_colorspace(colours));
    let samples = decoder.decode().map_err(complain)?;
    if samples.is_empty() || samples.len() != channels * height * width {
        return Err("the JPEG image is damaged (it has not as many pixels as it says)".into());
    }
    let samples: Vec<f32> = samples.into_iter().map(from_byte).collect();
    Ok(Image::from_interleaved(&samples, channels, [channels, height, width]))
}

fn from_byte(sample: u8) -> f32 {
    f32::from(sample) / 127.5 - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! file {
        ($name:literal) => {
            ($name, &include_bytes!(concat!("../../tests/images/", $name))[..])
        };
    }

    fn read((name, bytes): (&str, &[u8])) -> Image {
        Image::read(bytes, name).unwrap()
    }

    fn complaint(name: &str, bytes: &[u8]) -> String {
        Image::read(bytes, name).unwrap_err().to_string()
    }

    /// The value of a byte.
    fn of(byte: u8) -> f32 {
        f32::from(byte) / 127.5 - 1.0
    }

    #[test]
    fn values_are_in_order_channel_after_channel() {
        let rgb = read(file!("rgb.png"));
        let grey = read(file!("grey.png"));
        assert_eq!((rgb.shape, grey.shape), ([3, 16, 16], [1, 16, 16]));
        // How it was made: the red channel is the grey image, green its negative, blue red turned by five columns.
        assert_eq!(rgb.values[..256], grey.values[..]);
        let is_negative = |(red, green): (&f32, &f32)| (red + green).abs() < 1e-6;
        assert!(rgb.values.iter().zip(&rgb.values[256..512]).all(is_negative));
        assert!((0..256).all(|i| rgb.values[512 + i] == rgb.values[i / 16 * 16 + (i % 16 + 11) % 16]));
        assert!(grey.values.iter().all(|value| (-1.0..=1.0).contains(value)));
        // The same numbers of sixteen bits, the first five rows of four columns of them; and a part of the colours, opaque.
        let sixteen = read(file!("grey-16-bit.png"));
        assert!((0..20).all(|i| (sixteen.values[i] - grey.values[i / 4 * 16 + i % 4]).abs() < 1e-6));
        let opaque = read(file!("opaque.png"));
        assert_eq!((opaque.shape, opaque.values[5], opaque.values[30]), ([3, 6, 5], rgb.values[16], rgb.values[256]));
        assert_eq!(read(file!("palette.png")).shape, [3, 16, 16]);
    }

    /// Against libjpeg's pixels 0, 100 and 255; decoders may differ by a few levels, in chroma above all.
    #[test]
    fn jpeg_as_others_decode_it() {
        let check = |image: &Image, pixels: &[&[u8]]| {
            for (index, pixel) in [0, 100, 255].into_iter().zip(pixels) {
                for (channel, byte) in pixel.iter().enumerate() {
                    let found = image.values[channel * 256 + index];
                    assert!((found - of(*byte)).abs() < 6.0 / 127.5, "pixel {index}, channel {channel}: {found}, not {}", of(*byte));
                }
            }
        };
        check(&read(file!("grey.jpg")), &[&[192], &[191], &[13]]);
        check(&read(file!("rgb.jpg")), &[&[209, 57, 132], &[188, 63, 105], &[6, 244, 71]]);
        check(&read(file!("progressive.jpg")), &[&[191, 61, 159], &[196, 63, 84], &[16, 241, 59]]);
    }

    #[test]
    fn whatever_is_cut_off_is_refused() {
        for (name, bytes) in [file!("rgb.png"), file!("palette.png"), file!("rgb.jpg"), file!("grey.jpg"), file!("progressive.jpg")] {
            for length in 0..bytes.len() {
                let what = complaint(name, &bytes[..length]);
                assert!(what.starts_with(name) && what.lines().count() == 1, "{length}: {what}");
            }
        }
    }

    #[test]
    fn what_is_no_such_image_is_refused() {
        let (_, cmyk) = file!("cmyk.jpg");
        assert!(complaint("a.jpg", cmyk).contains("only grey and RGB images are read"));
        let (_, transparent) = file!("transparent.png");
        assert_eq!(
            complaint("a.png", transparent),
            "a.png: its pixel in row 3, column 4 is transparent, but only grey and RGB images are read"
        );
        assert_eq!(complaint("a.png", b"GIF89a"), "a.png: this is neither a PNG nor a JPEG image");
        let (_, good) = file!("rgb.png");
        let mut flipped = good.to_vec();
        flipped[200] ^= 4;
        assert!(complaint("a.png", &flipped).contains("the PNG image is damaged"));
        // Headers that claim what is not there.
        let mut claims = good.to_vec();
        claims[16..24].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]);
        let checksum = {
            let mut sum = flate2::Crc::new();
            sum.update(&claims[12..29]);
            sum.sum()
        };
        claims[29..33].copy_from_slice(&checksum.to_be_bytes());
        assert_eq!(complaint("a.png", &claims), "a.png: it is of 65536 × 65536 pixels, but at most 1024 × 1024 are read");
        let (_, good) = file!("rgb.jpg");
        let mut claims = good.to_vec();
        let frame = good.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
        claims[frame + 5..frame + 9].copy_from_slice(&[0xff, 0xff, 0xff, 0xff]);
        assert_eq!(complaint("a.jpg", &claims), "a.jpg: it is of 65535 × 65535 pixels, but at most 1024 × 1024 are read");
    }
}
