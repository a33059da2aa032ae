//! Decoding within limits, orientation, crop and encoding.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::webp::WebPEncoder;
use image::imageops::FilterType;
use image::{
    DynamicImage, ExtendedColorType, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits,
};

/// Pixels of the largest image: more than those of a phone's camera.
const MAX_PIXELS: u64 = 16 * 1024 * 1024;

/// Pixels of the longest side.
const MAX_SIDE: u32 = 16 * 1024;

/// Bytes of the decoded pixels, and bound of what a decoder allocates besides.
const MAX_ALLOC: u64 = 64 * 1024 * 1024;

/// As libjpeg's users know it, from 1 to 100.
const JPEG_QUALITY: u8 = 85;

/// Format of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Png,
    Jpeg,
    WebP,
}

impl Format {
    /// By a media type without parameters, in lower case.
    #[must_use]
    pub fn of_media_type(text: &str) -> Option<Self> {
        [Self::Png, Self::Jpeg, Self::WebP]
            .into_iter()
            .find(|it| it.media_type() == text)
    }

    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::WebP => "image/webp",
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    #[error("the image is damaged, or of another format")]
    Malformed,
    #[error("the image has too many pixels")]
    TooManyPixels,
}

/// Encoded picture without metadata.
#[derive(Clone, Debug)]
pub struct Picture {
    pub format: Format,
    pub bytes: Vec<u8>,
}

impl Picture {
    /// The square in the middle of an image, at most `side` pixels wide.
    pub fn square(bytes: &[u8], format: Format, side: u32) -> Result<Self, PictureError> {
        let image = decode(bytes, format)?;
        let shorter = image.width().min(image.height());
        let (left, top) = (
            (image.width() - shorter) / 2,
            (image.height() - shorter) / 2,
        );
        let square = image.crop_imm(left, top, shorter, shorter);
        drop(image);
        let side = side.min(shorter);
        let scaled = square.resize_exact(side, side, FilterType::CatmullRom);
        drop(square);
        encode(&scaled)
    }
}

/// Decodes within limits, and applies the orientation.
fn decode(bytes: &[u8], format: Format) -> Result<DynamicImage, PictureError> {
    let format = match format {
        Format::Png => ImageFormat::Png,
        Format::Jpeg => ImageFormat::Jpeg,
        Format::WebP => ImageFormat::WebP,
    };
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_ALLOC);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(refused)?;
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    if pixels > MAX_PIXELS || decoder.total_bytes() > MAX_ALLOC {
        return Err(PictureError::TooManyPixels);
    }
    let orientation = decoder.orientation().map_err(refused)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(refused)?;
    image.apply_orientation(orientation);
    if pixels == 0 {
        return Err(PictureError::Malformed);
    }
    Ok(image)
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn refused(error: ImageError) -> PictureError {
    match error {
        ImageError::Limits(_) => PictureError::TooManyPixels,
        _ => PictureError::Malformed,
    }
}

fn encode(image: &DynamicImage) -> Result<Picture, PictureError> {
    let mut bytes = Vec::new();
    let rgba = image.to_rgba8();
    let (width, height) = rgba.dimensions();
    let (format, encoded) = if rgba.pixels().all(|pixel| pixel.0[3] == u8::MAX) {
        let encoder = JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY);
        (Format::Jpeg, image.to_rgb8().write_with_encoder(encoder))
    } else {
        let encoder = WebPEncoder::new_lossless(&mut bytes);
        let color = ExtendedColorType::Rgba8;
        (Format::WebP, encoder.encode(&rgba, width, height, color))
    };
    encoded.map_err(|_| PictureError::Malformed)?;
    Ok(Picture { format, bytes })
}

#[cfg(test)]
mod tests;
