//! Pictures with metadata, damaged ones, and ones that are larger than they look.

use image::{ImageBuffer, Rgb, RgbImage, Rgba, RgbaImage};

use super::*;

/// Text that stands for a location.
const CANARY: &[u8] = b"GPS 51.5007N 0.1246W";

/// TIFF block with an orientation, and the canary as its description.
fn exif(orientation: u8) -> Vec<u8> {
    let mut block = b"II*\0\x08\0\0\0\x02\0".to_vec();
    let length = u8::try_from(CANARY.len()).expect("it is short");
    block.extend([0x0e, 0x01, 2, 0, length, 0, 0, 0, 38, 0, 0, 0]);
    block.extend([0x12, 0x01, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0]);
    block.extend([0; 4]);
    block.extend(CANARY);
    block
}

/// Red on the left, blue on the right.
fn halves(width: u32, height: u32) -> RgbImage {
    ImageBuffer::from_fn(width, height, |x, _| {
        if x < width / 2 {
            Rgb([255, 0, 0])
        } else {
            Rgb([0, 0, 255])
        }
    })
}

fn encoded(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image
        .into()
        .write_to(&mut bytes, format)
        .expect("it is encoded");
    bytes.into_inner()
}

/// JPEG with EXIF, XMP, an ICC profile, a comment, and text after its end.
fn jpeg(orientation: u8) -> Vec<u8> {
    let plain = encoded(halves(80, 40), ImageFormat::Jpeg);
    let segment = |marker: u8, parts: &[&[u8]]| {
        let content = parts.concat();
        let length = u16::try_from(content.len() + 2).expect("it is short");
        [&[0xff, marker][..], &length.to_be_bytes(), &content].concat()
    };
    [
        &plain[..2],
        &segment(0xe1, &[b"Exif\0\0", &exif(orientation)]),
        &segment(0xe1, &[b"http://ns.adobe.com/xap/1.0/\0", CANARY]),
        &segment(0xe2, &[b"ICC_PROFILE\0\x01\x01", CANARY]),
        &segment(0xfe, &[CANARY]),
        &plain[2..],
        b"<script>",
        CANARY,
    ]
    .concat()
}

/// PNG with EXIF, text, XMP, and text after its end.
fn png(image: impl Into<DynamicImage>, orientation: u8) -> Vec<u8> {
    let plain = encoded(image, ImageFormat::Png);
    let chunk = |name: &[u8], content: &[u8]| {
        let length = u32::try_from(content.len()).expect("it is short");
        let named = [name, content].concat();
        let sum = crc32(&named);
        [&length.to_be_bytes()[..], &named, &sum.to_be_bytes()].concat()
    };
    let text = [b"Comment\0", CANARY].concat();
    let xmp = [b"XML:com.adobe.xmp\0\0\0\0\0", CANARY].concat();
    // The signature and IHDR.
    [
        &plain[..33],
        &chunk(b"tEXt", &text),
        &chunk(b"iTXt", &xmp),
        &chunk(b"eXIf", &exif(orientation)),
        &plain[33..],
        CANARY,
    ]
    .concat()
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ (0xedb8_8320 * (sum & 1))
        })
    })
}

/// Extended WebP with EXIF and XMP.
fn webp(orientation: u8) -> Vec<u8> {
    let plain = encoded(halves(80, 40), ImageFormat::WebP);
    let chunk = |name: &[u8], content: &[u8]| {
        let length = u32::try_from(content.len()).expect("it is short");
        let padding = &[0][..content.len() % 2];
        [name, &length.to_le_bytes(), content, padding].concat()
    };
    // Flags of EXIF and XMP, and the size less one.
    let header = chunk(b"VP8X", &[0b1100, 0, 0, 0, 79, 0, 0, 39, 0, 0]);
    let content = [
        b"WEBP",
        &header[..],
        &plain[12..],
        &chunk(b"EXIF", &exif(orientation)),
        &chunk(b"XMP ", CANARY),
    ]
    .concat();
    chunk(b"RIFF", &content)
}

fn square(bytes: &[u8], format: Format) -> Picture {
    Picture::square(bytes, format, 64).expect("it is a picture")
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn pixels(picture: &Picture) -> RgbaImage {
    let decoded = image::load_from_memory(&picture.bytes);
    decoded.expect("it is a picture").to_rgba8()
}

/// Red and blue, as far as a JPEG keeps them.
fn is_red(pixel: Rgba<u8>) -> bool {
    pixel.0[0] > 200 && pixel.0[2] < 60
}

#[test]
fn metadata_and_other_content_are_gone() {
    let sources = [
        (jpeg(1), Format::Jpeg),
        (png(halves(80, 40), 1), Format::Png),
        (webp(1), Format::WebP),
    ];
    for (bytes, format) in sources {
        assert!(contains(&bytes, CANARY), "{format:?}");
        let picture = square(&bytes, format);
        assert_eq!(picture.format, Format::Jpeg);
        for part in [
            CANARY,
            b"Exif",
            b"eXIf",
            b"EXIF",
            b"ns.adobe.com",
            b"XMP",
            b"ICC_PROFILE",
            b"tEXt",
            b"<script>",
        ] {
            assert!(!contains(&picture.bytes, part), "{format:?}: {part:?}");
        }
        assert_eq!(pixels(&picture).dimensions(), (40, 40));
    }
}

#[test]
fn the_orientation_is_applied() {
    for format in [Format::Jpeg, Format::Png, Format::WebP] {
        let source = |orientation| match format {
            Format::Jpeg => jpeg(orientation),
            Format::Png => png(halves(80, 40), orientation),
            Format::WebP => webp(orientation),
        };
        // As it is, turned by 180 degrees, by 90 and by 270 degrees clockwise.
        for (orientation, at) in [(1, (2, 20)), (3, (37, 20)), (6, (20, 2)), (8, (20, 37))] {
            let image = pixels(&square(&source(orientation), format));
            let (x, y) = at;
            assert!(is_red(*image.get_pixel(x, y)), "{format:?} {orientation}");
            let opposite = *image.get_pixel(39 - x, 39 - y);
            assert!(!is_red(opposite), "{format:?} {orientation}");
        }
    }
}

#[test]
fn a_picture_is_a_square_of_at_most_so_many_pixels_and_keeps_transparency() {
    for (width, height, side) in [(300, 100, 64), (100, 300, 64), (10, 20, 10), (1, 900, 1)] {
        let image = png(halves(width, height), 1);
        let picture = square(&image, Format::Png);
        assert_eq!(pixels(&picture).dimensions(), (side, side));
    }
    let clear = RgbaImage::from_pixel(100, 100, Rgba([10, 20, 30, 0]));
    let picture = square(&png(clear, 1), Format::Png);
    assert_eq!(picture.format, Format::WebP);
    assert!(!contains(&picture.bytes, CANARY));
    assert_eq!(pixels(&picture).get_pixel(5, 5).0[3], 0);
}

#[test]
fn damaged_images_and_other_formats_are_refused() {
    let jpeg = jpeg(1);
    for (bytes, format) in [
        (&b""[..], Format::Png),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", Format::Png),
        (&jpeg, Format::Png),
        (&jpeg, Format::WebP),
        (&jpeg[..40], Format::Jpeg),
        (&png(halves(80, 40), 1)[..200], Format::Png),
        (&webp(1)[..60], Format::WebP),
    ] {
        let refused = Picture::square(bytes, format, 64);
        assert!(
            matches!(refused, Err(PictureError::Malformed)),
            "{format:?}: {refused:?}"
        );
    }
}

#[test]
fn decompression_bombs_are_refused_before_they_are_decoded() {
    let sized = |width: u32, height: u32| {
        let mut image = png(halves(80, 40), 1);
        image[16..20].copy_from_slice(&width.to_be_bytes());
        image[20..24].copy_from_slice(&height.to_be_bytes());
        let sum = crc32(&image[12..29]);
        image[29..33].copy_from_slice(&sum.to_be_bytes());
        image
    };
    let mut wide = jpeg(1);
    let frame = wide.windows(2).rposition(|it| it == [0xff, 0xc0]);
    let frame = frame.expect("it has a frame");
    wide[frame + 5..frame + 9].copy_from_slice(&[0xff, 0xff, 0xff, 0xff]);
    let mut canvas = webp(1);
    canvas[24..30].copy_from_slice(&[0xff, 0x1f, 0, 0xff, 0x1f, 0]);
    for (bytes, format) in [
        (sized(60_000, 60_000), Format::Png),
        (sized(5000, 4000), Format::Png),
        (wide, Format::Jpeg),
        (canvas, Format::WebP),
    ] {
        let refused = Picture::square(&bytes, format, 64);
        assert!(
            matches!(refused, Err(PictureError::TooManyPixels)),
            "{format:?}: {refused:?}"
        );
    }
}
