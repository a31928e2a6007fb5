//! gzip (RFC 1952) and zstd, told apart by their first bytes.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress as inflate};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// First bytes of what is known but not served.
const OTHERS: &[(&[u8], &str)] = &[
    (b"\xfd7zXZ\0", "xz"),
    (b"BZh", "bzip2"),
    (b"\x5d\0\0", "lzma"),
    (b"\x02\x21\x4c\x18", "lz4"),
    (b"\x89LZO", "lzo"),
];

/// Decompresses what begins here, to at most `limit` bytes; returns it, and how many bytes of `b` it took.
pub(super) fn decompress(b: &[u8], limit: usize) -> Result<(Vec<u8>, usize), String> {
    if b.starts_with(&[0x1f, 0x8b]) {
        return gzip(b, limit);
    }
    if b.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return zstd(b, limit);
    }
    match OTHERS.iter().find(|(magic, _)| b.starts_with(magic)) {
        Some((_, name)) => Err(format!("compressed with {name}; accepted: cpio (newc), plain or with gzip or zstd")),
        None => Err("not a cpio archive; accepted: cpio (newc), plain or with gzip or zstd".into()),
    }
}

fn too_large(limit: usize) -> String {
    format!("more than {limit} bytes when unpacked, half of mem=; accepted: a larger mem=")
}

fn gzip(b: &[u8], limit: usize) -> Result<(Vec<u8>, usize), String> {
    let cut = || String::from("the gzip stream is cut short");
    let flags = *b.get(3).ok_or_else(cut)?;
    let mut at = 10;
    if flags & 4 != 0 {
        let len = b.get(at..at + 2).ok_or_else(cut)?;
        at += 2 + usize::from(u16::from_le_bytes([len[0], len[1]]));
    }
    // Name and comment end with a NUL each.
    for bit in [8, 16] {
        if flags & bit != 0 {
            at += b.get(at..).and_then(|r| r.iter().position(|&c| c == 0)).ok_or_else(cut)? + 1;
        }
    }
    if flags & 2 != 0 {
        at += 2;
    }
    let mut state = DecompressorOxide::new();
    let mut out = alloc::vec![0u8; (b.len() * 4).clamp(1 << 16, limit.max(1 << 16))];
    let mut done = 0;
    loop {
        let input = b.get(at..).ok_or_else(cut)?;
        let (status, used, written) =
            inflate(&mut state, input, &mut out, done, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF);
        at += used;
        done += written;
        match status {
            TINFLStatus::Done => break,
            TINFLStatus::HasMoreOutput if out.len() < limit => {
                let larger = (out.len() * 2).min(limit);
                out.resize(larger, 0);
            }
            TINFLStatus::HasMoreOutput => return Err(too_large(limit)),
            TINFLStatus::FailedCannotMakeProgress | TINFLStatus::NeedsMoreInput => return Err(cut()),
            _ => return Err("the gzip stream is damaged".into()),
        }
    }
    out.truncate(done);
    let trailer = b.get(at..at + 8).ok_or_else(cut)?;
    let sum = u32::from_le_bytes([trailer[0], trailer[1], trailer[2], trailer[3]]);
    if crc32(&out) != sum {
        return Err("the gzip stream's checksum is wrong".into());
    }
    Ok((out, at + 8))
}

/// The CRC of gzip and zip, four bits a step.
fn crc32(data: &[u8]) -> u32 {
    const TABLE: [u32; 16] = {
        let mut t = [0u32; 16];
        let mut i = 0;
        while i < 16 {
            let mut c = i as u32;
            let mut k = 0;
            while k < 4 {
                c = (c >> 1) ^ (0xedb8_8320 & (c & 1).wrapping_neg());
                k += 1;
            }
            t[i] = c;
            i += 1;
        }
        t
    };
    !data.iter().fold(!0u32, |mut c, &b| {
        c ^= u32::from(b);
        c = (c >> 4) ^ TABLE[(c & 15) as usize];
        (c >> 4) ^ TABLE[(c & 15) as usize]
    })
}

fn zstd(b: &[u8], limit: usize) -> Result<(Vec<u8>, usize), String> {
    let damaged = |e: &dyn core::fmt::Display| format!("the zstd stream is damaged: {e}");
    let mut input = b;
    let mut decoder = FrameDecoder::new();
    decoder.init(&mut input).map_err(|e| damaged(&e))?;
    let mut out = Vec::new();
    while !decoder.is_finished() {
        decoder.decode_blocks(&mut input, BlockDecodingStrategy::UptoBytes(1 << 20)).map_err(|e| damaged(&e))?;
        out.extend(decoder.collect().unwrap_or_default());
        if out.len() > limit {
            return Err(too_large(limit));
        }
    }
    out.extend(decoder.collect().unwrap_or_default());
    Ok((out, b.len() - input.len()))
}
