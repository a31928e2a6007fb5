//! The kernel's text is baseline SSE2.
//!
//! While the kernel serves a call, everything of the guest's vector state but the low halves of xmm0–15 is still in the
//! registers (`kernel/src/arch/entry.rs`). An AVX instruction, an x87 or MMX instruction, or a C library routine that
//! picks an AVX version when the program starts would destroy it. So the whole of `vmlinux` is disassembled, more than
//! what the entry can reach, and its imports are looked through.

use std::process::Command;

/// Prefixes that objdump writes in front of a mnemonic.
const PREFIXES: &[&str] =
    &["lock", "rep", "repz", "repnz", "data16", "addr32", "notrack", "bnd", "cs", "ds", "es", "fs", "gs", "ss"];
/// Instructions on general registers that are VEX-encoded (BMI1, BMI2).
const VEX_ON_GENERAL_REGISTERS: &[&str] =
    &["andn", "bextr", "blsi", "blsmsk", "blsr", "bzhi", "mulx", "pdep", "pext", "rorx", "sarx", "shlx", "shrx"];

/// What objdump (binutils) prints about `vmlinux`.
fn objdump(args: &[&str]) -> String {
    let run = Command::new("objdump").args(args).arg(env!("CARGO_BIN_EXE_vmlinux")).output();
    let out = run.expect("objdump is installed (scripts/prepare)");
    assert!(out.status.success(), "objdump: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).expect("objdump writes ASCII")
}

/// Why an instruction in AT&T syntax must not be in the kernel; `None` if it may.
fn objection(instruction: &str) -> Option<&'static str> {
    let code = instruction.split(['#', '<']).next().unwrap_or_default();
    let mut words = code.split_whitespace().skip_while(|w| PREFIXES.contains(w) || w.starts_with("rex"));
    let mnemonic = words.next().unwrap_or_default();
    let operands = words.collect::<String>();
    let register = |name: &str| {
        operands
            .match_indices(name)
            .any(|(at, _)| operands[at + name.len()..].starts_with(|c: char| c.is_ascii_digit()))
    };
    // verr and verw read segments; every other mnemonic with a v in front is VEX or EVEX.
    if (mnemonic.starts_with('v') && !mnemonic.starts_with("ver")) || VEX_ON_GENERAL_REGISTERS.contains(&mnemonic) {
        Some("VEX or EVEX encoding")
    } else if register("%ymm") || register("%zmm") || register("%k") {
        Some("wide vectors or masks")
    } else if register("%mm") || operands.contains("%st") || (mnemonic.starts_with('f') && mnemonic != "fxsave") {
        Some("MMX or x87")
    } else {
        None
    }
}

#[test]
fn the_classifier_knows_what_to_refuse() {
    for bad in [
        "vmovdqu %ymm0,(%rdi)",
        "vpxor  %xmm0,%xmm0,%xmm0",
        "vpcmpeqb (%rsi),%ymm16,%k0",
        "kmovd  %k0,%eax",
        "vmovdqu64 %zmm16,(%rdi)",
        "vzeroupper",
        "shlx   %rax,%rbx,%rcx",
        "movq   %mm0,%rax",
        "fldt   0x10(%rsp)",
        "fs fninit",
        "fxch   %st(1)",
        "rep vmovups %xmm1,(%rax)",
    ] {
        assert!(objection(bad).is_some(), "{bad}");
    }
    for good in [
        "movaps %xmm0,(%rsp)",
        "mov    %fs:0x0,%rax",
        "cs nopw 0x0(%rax,%rax,1)",
        "rep movsb %ds:(%rsi),%es:(%rdi)",
        "call   1234 <fold>",
        "lock cmpxchg %rcx,(%rdi)",
        "lea    0x10(%rip),%rax        # 3f0 <vtable>",
        "xrstor64 (%rdi)",
        "tzcnt  %rax,%rax",
    ] {
        assert_eq!(objection(good), None, "{good}");
    }
}

#[test]
fn the_text_is_baseline() {
    let listing = objdump(&["-d", "--no-show-raw-insn"]);
    let (mut function, mut instructions, mut entries) = ("", 0u64, 0);
    let mut objections = Vec::new();
    for line in listing.lines() {
        match line.split_once('\t') {
            Some((_, instruction)) => {
                instructions += 1;
                if let Some(why) = objection(instruction) {
                    objections.push(format!("{function} {instruction}: {why}"));
                }
            }
            None if line.ends_with(">:") => {
                function = line;
                let entry = ["<flatland_syscall_entry>:", "<flatland_patched_entry>:", "<flatland_trap_entry>:"];
                entries += usize::from(entry.iter().any(|e| line.ends_with(e)));
            }
            None => {}
        }
    }
    assert_eq!(entries, 3, "the listing does not have the kernel's entry points");
    assert!(instructions > 100_000, "only {instructions} instructions were seen");
    objections.truncate(20);
    assert!(objections.is_empty(), "{}", objections.join("\n"));
}

/// The C library's memory and string routines come in AVX versions: what is needed of them stands in
/// `kernel/src/arch/memory.rs`.
#[test]
fn no_string_routine_of_the_c_library_is_imported() {
    let symbols = objdump(&["-T"]);
    let imported: Vec<&str> =
        symbols.lines().filter(|l| l.contains("*UND*")).filter_map(|l| l.split_whitespace().last()).collect();
    assert!(imported.contains(&"__libc_start_main"), "the list of imports is not complete: {imported:?}");
    let families = ["mem", "rawmem", "str", "stp", "wcs", "wmem", "bcmp", "bcopy", "bzero", "index", "rindex"];
    let bad: Vec<&&str> = imported.iter().filter(|name| families.iter().any(|f| name.starts_with(f))).collect();
    assert!(bad.is_empty(), "{bad:?}");
}
