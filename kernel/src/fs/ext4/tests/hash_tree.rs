//! Large directories: `e2fsck -fn` looks at the order of hash trees, `debugfs htree_dump` shows them.

use super::*;

impl Image {
    /// What debugfs shows of a directory's tree.
    fn tree(&self, path: &str) -> String {
        run("/sbin/debugfs", &["-R", &format!("htree_dump {path}"), self.name()]).1
    }
}

/// Fills a directory with names of one file.
fn fill(d: &Dir, target: &Dir, range: core::ops::Range<u32>, name: impl Fn(u32) -> String) {
    for i in range {
        d.link(name(i).as_bytes(), target).unwrap_or_else(|e| panic!("{}: {e}", name(i)));
    }
}

#[test]
fn fifty_thousand_names_in_a_directory() {
    for (variant, (name, options)) in [VARIANTS[0], VARIANTS[1], VARIANTS[4]].into_iter().enumerate() {
        let image = Image::new(&format!("fifty-{name}"), "40M", options);
        let fs = image.mount();
        let root: Dir = fs.root();
        let d = mkdir(&root, "many");
        let f = make(&root, "target");
        // Few long names fill a leaf, many short ones do not make it overflow more often.
        let word = |i: u32| format!("{}-{i}", "name-of-a-file".get(..i as usize % 15).unwrap());
        fill(&d, &f, 0..50_000, word);
        assert_eq!(names(&d).len(), 50_000);
        drop(d);
        fs.shut_down().unwrap();
        image.check();
        let tree = image.tree("/many");
        let levels = if variant == 0 { 0 } else { 1 };
        assert!(tree.contains(&format!("Indirect levels: {levels}")), "{name}: {}", &tree[..400.min(tree.len())]);

        let fs = image.mount();
        let root: Dir = fs.root();
        let d = root.lookup(b"many").unwrap();
        for i in (0..50_000).filter(|i| i % 3 != 0) {
            d.unlink(word(i).as_bytes()).unwrap();
        }
        fs.sync().unwrap();
        image.recover_copy();
        let f = root.lookup(b"target").unwrap();
        fill(&d, &f, 0..20_000, |i| format!("again {i}"));
        assert!(d.lookup(word(3).as_bytes()).is_ok() && errno(d.lookup(word(4).as_bytes())) == Some(Errno::ENOENT));
        assert_eq!(names(&d).len(), 16_667 + 20_000);
        drop((d, f, root));
        drop(fs);
        image.check();
        assert!(image.tree("/many").contains("again 19999"));
    }
}

#[test]
fn trees_of_every_hash_keep_their_order() {
    for algorithm in ["legacy", "half_md4", "tea"] {
        for flags in ["1", "2"] {
            let image = Image::new(&format!("hash-{algorithm}-{flags}"), "20M", &["-b", "1024"]);
            let (code, text) = run("/sbin/tune2fs", &["-E", &format!("hash_alg={algorithm}"), image.name()]);
            assert_eq!(code, Some(0), "{text}");
            run("/sbin/debugfs", &["-w", "-R", &format!("set_super_value flags {flags}"), image.name()]);
            let fs = image.mount();
            let root: Dir = fs.root();
            let (d, f) = (mkdir(&root, "d"), make(&root, "f"));
            fill(&d, &f, 0..3000, |i| format!("größer als {i} Sätze"));
            drop((d, f, root));
            fs.shut_down().unwrap();
            image.check();
            let tree = image.tree("/d");
            let number = ["legacy", "half_md4", "tea"].iter().position(|a| *a == algorithm).unwrap();
            assert!(tree.contains(&format!("Hash Version: {number}")), "{tree}");
        }
    }
}

#[test]
fn a_tree_of_others_takes_names() {
    let image = Image::new("tree-of-others", "40M", &["-b", "1024"]);
    let fs = image.mount();
    let root: Dir = fs.root();
    let (d, f) = (mkdir(&root, "d"), make(&root, "f"));
    fill(&d, &f, 0..5000, |i| format!("first {i}"));
    drop((d, f, root));
    drop(fs);
    // e2fsck makes it anew, with full leaves.
    let (code, text) = run("/sbin/e2fsck", &["-fyD", image.name()]);
    assert!(matches!(code, Some(0 | 1)), "{text}");
    let fs = image.mount();
    let root: Dir = fs.root();
    let (d, f) = (root.lookup(b"d").unwrap(), root.lookup(b"f").unwrap());
    fill(&d, &f, 0..5000, |i| format!("second {i}"));
    // A move of the directory goes through its root's block.
    let parent = mkdir(&root, "parent");
    root.rename(b"d", &parent, b"d", RenameMode::Replace).unwrap();
    assert_eq!(names(&d).len(), 10_000);
    drop((d, f, parent, root));
    drop(fs);
    image.check();
    assert!(image.tree("/parent/d").contains("second 4999"));
}

#[test]
fn without_the_feature_directories_stay_linear() {
    let image = Image::new("linear", "20M", &["-b", "1024", "-O", "^dir_index"]);
    let fs = image.mount();
    let root: Dir = fs.root();
    let (d, f) = (mkdir(&root, "d"), make(&root, "f"));
    fill(&d, &f, 0..500, |i| format!("a name {i}"));
    drop((d, f, root));
    drop(fs);
    image.check();
    assert!(image.tree("/d").contains("Not a hash-indexed directory"));
}

#[test]
fn a_reader_sees_what_stays_exactly_once() {
    let image = Image::new("reader", "20M", &["-b", "1024"]);
    let fs = image.mount();
    let root: Dir = fs.root();
    let (d, f) = (mkdir(&root, "d"), make(&root, "f"));
    fill(&d, &f, 0..400, |i| format!("stays {i}"));
    fill(&d, &f, 0..100, |i| format!("goes {i}"));
    let file = open(&d, OpenFlags::empty());
    let (mut seen, mut cookie, mut round) = (Vec::new(), 2, 0u32);
    loop {
        let before = seen.len();
        file.ops()
            .read_dir(&file, cookie, &mut |e| {
                seen.push(String::from_utf8(e.name.to_vec()).unwrap());
                cookie = e.next;
                seen.len() < before + 7
            })
            .unwrap();
        if seen.len() == before {
            break;
        }
        // Blocks are split under the reader, and names go.
        if round < 60 {
            fill(&d, &f, round * 20..round * 20 + 20, |i| format!("comes {i}"));
            let _ = d.unlink(format!("goes {round}").as_bytes());
        }
        round += 1;
    }
    let mut stays: Vec<String> = seen.iter().filter(|n| n.starts_with("stays")).cloned().collect();
    stays.sort();
    stays.dedup();
    assert_eq!(stays.len(), 400);
    let whole = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), whole, "a name twice");
    drop((file, d, f, root));
    drop(fs);
    image.check();
}
