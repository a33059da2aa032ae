//! An authenticator app, made from the standards alone, and an eye for pictures.

use aws_lc_rs::hmac;

use crate::harness::TestApp;

/// An app that knows one secret.
pub struct Authenticator {
    pub secret: Vec<u8>,
}

impl Authenticator {
    /// The app, told this secret in base32 (RFC 4648 §6).
    pub fn new(base32: &str) -> Self {
        let mut bits = 0_u64;
        let mut count = 0;
        let mut secret = Vec::new();
        for message in base32.bytes() {
            let five = match message {
                b'A'..=b'Z' => message - b'A',
                b'2'..=b'7' => message - b'2' + 26,
                _ => panic!("{base32} is not base32"),
            };
            bits = bits << 5 | u64::from(five);
            count += 5;
            if count >= 8 {
                count -= 8;
                secret.push((bits >> count & 0xff) as u8);
            }
        }
        assert_eq!(secret.len(), 20);
        Self { secret }
    }

    /// What it shows now.
    pub fn code(&self, app: &TestApp) -> String {
        self.code_in(app, 0)
    }

    /// What it shows so many steps of thirty seconds from now (RFC 4226 §5.3, RFC 6238 §4.2).
    pub fn code_in(&self, app: &TestApp, steps: i64) -> String {
        let step = app.clock.now().timestamp() / 30 + steps;
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &self.secret);
        let tag = hmac::sign(&key, &step.to_be_bytes());
        let at = usize::from(tag.as_ref()[19] & 0xf);
        let four = tag.as_ref()[at..at + 4].try_into().expect("four bytes");
        let number = u32::from_be_bytes(four) & 0x7fff_ffff;
        format!("{:06}", number % 1_000_000)
    }

    /// A code that is not right for minutes around.
    pub fn wrong_code(&self, app: &TestApp) -> String {
        let good: Vec<_> = (-10..=10).map(|steps| self.code_in(app, steps)).collect();
        (0..1_000_000)
            .map(|n| format!("{n:06}"))
            .find(|code| !good.contains(code))
            .expect("there is one")
    }
}

/// What a QR code in SVG says.
pub fn read(svg: &str) -> String {
    let number = |text: &str| text.parse::<usize>().expect("a number");
    let width = svg.split_once(" width=\"").expect("it has a width").1;
    let width = number(width.split_once('"').expect("it ends").0);
    let path = svg.split_once(" d=\"").expect("it has a path").1;
    let path = path.split_once('"').expect("it ends").0;
    let mut dark = vec![vec![false; width]; width];
    // Each dark square is `M<left> <top>h<width>v<height>` and the way back.
    for square in path.split('M').skip(1) {
        let (left, rest) = square.split_once(' ').expect("a left");
        let (top, rest) = rest.split_once('h').expect("a top");
        let (wide, rest) = rest.split_once('v').expect("a width");
        let high = rest.split_once('H').expect("a height").0;
        for row in &mut dark[number(top)..number(top) + number(high)] {
            row[number(left)..number(left) + number(wide)].fill(true);
        }
    }
    let mut picture = rqrr::PreparedImage::prepare_from_bitmap(width, width, |x, y| dark[y][x]);
    let grids = picture.detect_grids();
    let [grid] = grids.as_slice() else {
        panic!("one code, not {}", grids.len());
    };
    grid.decode().expect("it can be read").1
}
