//! Training on images by class and on shards of latents: in batches that are a function of the step, in less memory than the set takes, and stopped
//! by what is wrong with the data.
#![allow(clippy::unwrap_used)] // helpers of tests

mod common;

use common::{Folder, not_tested, texts};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

const RGB: &[u8] = include_bytes!("images/rgb.png");
const GREY: &[u8] = include_bytes!("images/grey.png");
const JPEG: &[u8] = include_bytes!("images/rgb.jpg");

/// A small network, quickly trained.
const SMALL: [&str; 10] = ["-o", "model.mfm", "--steps", "12", "--batch", "8", "--width", "8", "--depth", "1"];

fn train<'a>(data: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    // A transformer has a size of another kind.
    let small = if more.contains(&"dit") { &SMALL[..6] } else { &SMALL };
    [&["train", data], small, more].concat()
}

/// Writes a shard of latents [n, 1, 2, 2], with the labels if there are any.
fn shard(folder: &Folder, name: &str, latents: &[f32], labels: Option<&[i64]>) {
    let latents: Vec<u8> = latents.iter().flat_map(|value| value.to_le_bytes()).collect();
    let labels: Option<Vec<u8>> = labels.map(|labels| labels.iter().flat_map(|label| label.to_le_bytes()).collect());
    let mut all = vec![("latents", TensorView::new(Dtype::F32, vec![latents.len() / 16, 1, 2, 2], &latents).unwrap())];
    if let Some(labels) = &labels {
        all.push(("labels", TensorView::new(Dtype::I64, vec![labels.len() / 8], labels).unwrap()));
    }
    std::fs::create_dir_all(folder.path(name).parent().unwrap()).unwrap();
    folder.write(name, &safetensors::serialize(all, None).unwrap());
}

fn latents(rows: usize) -> Vec<f32> {
    (0..4 * rows).map(|k| (k as f32 * 0.37).sin()).collect()
}

#[test]
fn images_by_class() {
    let folder = Folder::new();
    for (class, name, bytes) in [("cat", "1.png", RGB), ("cat", "2.jpg", JPEG), ("dog", "1.png", RGB)] {
        std::fs::create_dir_all(folder.path(&format!("pets/{class}"))).unwrap();
        folder.write(&format!("pets/{class}/{name}"), bytes);
    }
    let output = folder.run(&train("pets", &["--labels"]));
    let (_, said) = texts(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("pets: 3 samples of 768 numbers") && said.contains("labels: 0 cat, 1 dog"), "{said}");
    // A transformer takes its channels and side from the images.
    folder.succeeds(&train("pets", &["--network", "dit", "--size", "8x1x1", "--patch", "8", "--precondition", "off"]));
    assert!(folder.succeeds(&["info", "model.mfm"]).contains("16 × 16 images of 3 channels"));
    folder.succeeds(&["sample", "model.mfm", "-n", "3", "-o", "samples.png"]);
    folder.refuses(&train("pets", &["--network", "dit", "--channels", "1"]), &["pets", "3 channels, not 1"]);
    folder.refuses(&train("pets", &["--label-column", "last"]), &["pets", "no column of labels"]);

    folder.write("pets/dog/2.png", GREY);
    folder.refuses(&train("pets", &[]), &["pets/dog/2.png", "a grey image", "pets/cat/1.png"]);
    folder.write("pets/dog/2.png", &RGB[..RGB.len() / 2]);
    folder.refuses(&train("pets", &[]), &["pets/dog/2.png", "cut off"]);
    std::fs::create_dir(folder.path("pets/newt")).unwrap();
    std::fs::remove_file(folder.path("pets/dog/2.png")).unwrap();
    folder.refuses(&train("pets", &[]), &["pets/newt", "no image in this class"]);
    folder.refuses(&train(".", &[]), &["there may only be .png, .jpg and .jpeg images"]);
}

#[test]
fn idx_headers_and_checkpoints_that_do_not_fit() {
    let folder = Folder::new();
    // Two images of 2 × 2 pixels are promised, and one is there.
    let promise = [0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 2, 1, 2, 3, 4];
    folder.write("a-idx3-ubyte", &promise);
    folder.refuses(&train("a-idx3-ubyte", &[]), &["a-idx3-ubyte", "promises 8 bytes of data, 4 are there"]);
    folder.points();
    let run = ["--checkpoint", "run.mfm", "--checkpoint-every", "1", "--resume"];
    folder.succeeds(&train("points.csv", &run));
    let other = [&train("points.csv", &run)[..], &["--frequencies", "3"]].concat();
    folder.refuses(&other, &["cannot resume from run.mfm", "another model"]);
}

/// A number that is not finite stops a run at the step that reads it. When it is mended, the run goes on in the middle of its epoch to the weights of
/// one that was never stopped.
#[test]
fn runs_on_shards_are_functions_of_the_step() {
    let folder = Folder::new();
    let (rows, labels) = (latents(20), (0..20).map(|k| k % 3).collect::<Vec<i64>>());
    let whole = || shard(&folder, "set/b.safetensors", &rows, Some(&labels));
    let remove = |names: &[&str]| names.iter().for_each(|name| std::fs::remove_file(folder.path(name)).unwrap());
    shard(&folder, "set/a.safetensors", &latents(5), Some(&[0, 1, 2, 3, 4]));
    whole();
    let run = train("set", &["--labels", "--checkpoint", "run.mfm", "--checkpoint-every", "1", "--resume"]);
    folder.succeeds(&run);
    let expected = (folder.read("model.mfm"), folder.read("run.mfm"));
    remove(&["model.mfm", "run.mfm"]);

    // 12 batches of 8 are 3.84 epochs of 25; the bad row is read in the first.
    let mut bad = rows.clone();
    bad[4 * 10 + 2] = f32::NAN;
    shard(&folder, "set/b.safetensors", &bad, Some(&labels));
    let output = folder.run(&[&run[..], &["-q", "--precondition", "off"]].concat());
    let (_, said) = texts(&output);
    assert!(said.contains("training on set: set/b.safetensors: row 11: number 3 is NaN"), "{said}");
    // With preconditioning the row is found before the first step.
    remove(&["run.mfm"]);
    folder.refuses(&run, &["set/b.safetensors: row 11: number 3 is NaN"]);
    whole();

    let plain = [&run[..], &["--precondition", "off"]].concat();
    folder.succeeds(&plain);
    let expected_plain = (folder.read("model.mfm"), folder.read("run.mfm"));
    remove(&["model.mfm", "run.mfm"]);
    shard(&folder, "set/b.safetensors", &bad, Some(&labels));
    folder.run(&plain);
    let stopped_at = mfm_nn::ModelFile::parse(&folder.read("run.mfm")).unwrap().header().training.as_ref().unwrap().step;
    assert!((1..4).contains(&stopped_at) && !folder.path("model.mfm").exists(), "{stopped_at}");
    whole();
    folder.succeeds(&plain);
    assert_eq!((folder.read("model.mfm"), folder.read("run.mfm")), expected_plain);
    remove(&["run.mfm"]);
    folder.succeeds(&run);
    assert_eq!((folder.read("model.mfm"), folder.read("run.mfm")), expected);
}

/// Of a set of any number of shards only so many are open at once.
#[test]
fn more_shards_than_files_may_be_open() {
    let folder = Folder::new();
    (0..200).for_each(|k| shard(&folder, &format!("set/{k}.safetensors"), &latents(1), Some(&[k % 3])));
    let run =
        |limit: usize| folder.shell(&format!("ulimit -n {limit} && exec $MFM {} --steps 3", train("set", &["--labels"])[..4].join(" ")));
    let (_, said) = texts(&run(160));
    assert!(said.contains("200 samples of 4 numbers") && folder.path("model.mfm").exists(), "{said}");
    let (_, said) = texts(&run(100));
    assert!(said.contains("cannot read set/") && said.contains("open files"), "{said}");
}

#[test]
fn bad_shards() {
    let folder = Folder::new();
    let fresh = || shard(&folder, "set/a.safetensors", &latents(5), Some(&[0, 1, 2, 3, 4]));
    fresh();
    folder.succeeds(&train("set", &["--check-data", "--labels"]));
    folder.refuses(&["posterior", "model.mfm", "--state", "set", "--time", "0.5"], &["set", "for training alone"]);
    shard(&folder, "set/b.safetensors", &latents(2), Some(&[0, 65_536]));
    folder.refuses(&train("set", &[]), &["set/b.safetensors: row 2: the label 65536 is not between 0 and 65535"]);
    shard(&folder, "set/b.safetensors", &latents(2), None);
    folder.refuses(&train("set", &[]), &["set/b.safetensors: it has none, but set/a.safetensors has labels"]);
    shard(&folder, "set/b.safetensors", &[0.5, 1.0, 1.0, f32::INFINITY], Some(&[0]));
    folder.refuses(&train("set", &["--check-data"]), &["set/b.safetensors: row 1: number 4 is inf"]);
    let bytes = folder.read("set/a.safetensors");
    folder.write("set/b.safetensors", &bytes[..bytes.len() - 1]);
    folder.refuses(&train("set", &[]), &["set/b.safetensors: the shard is cut off"]);
    let wide = TensorView::new(Dtype::F32, vec![1, 1, 2, 3], &[0; 24]).unwrap();
    folder.write("set/b.safetensors", &safetensors::serialize([("latents", wide)], None).unwrap());
    folder.refuses(&train("set", &[]), &["set/b.safetensors: its latents are of [1, 2, 3]", "set/a.safetensors"]);
}

/// Ten times the memory that a run may have, in one sparse file of which every number is 0. The same amount as one table is refused.
#[cfg(target_os = "linux")]
#[test]
fn a_set_ten_times_larger_than_memory_trains() {
    const LIMIT: u64 = 128 << 20;
    const ROW: u64 = 4 * 32 * 32 * 4;
    let folder = Folder::new();
    std::fs::create_dir(folder.path("set")).unwrap();
    let rows = 10 * LIMIT / ROW + 1;
    let sparse = |name: &str, header: &[u8], bytes: u64| {
        folder.write(name, header);
        let file = std::fs::OpenOptions::new().write(true).open(folder.path(name)).unwrap();
        file.set_len(header.len() as u64 + bytes)
    };
    let json = format!(r#"{{"latents":{{"dtype":"F32","shape":[{rows},4,32,32],"data_offsets":[0,{}]}}}}"#, rows * ROW);
    let header = [&(json.len() as u64).to_le_bytes()[..], json.as_bytes()].concat();
    let table = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {})}}", ROW / 4);
    let table = [b"\x93NUMPY\x01\x00", &(table.len() as u16).to_le_bytes()[..], table.as_bytes()].concat();
    if let Err(error) = sparse("set/a.safetensors", &header, rows * ROW).and_then(|()| sparse("table.npy", &table, rows * ROW)) {
        return not_tested("a set larger than memory", format!("this file system has no sparse files of {} bytes: {error}", rows * ROW));
    }
    let limited = |data: &str| {
        let options = "-o model.mfm --steps 3 --batch 16 --precondition off --network dit --size 16x1x1 --patch 8 --threads 1 -q";
        let (_, err) = texts(&folder.shell(&format!("ulimit -v {} && exec $MFM train {data} {options}", LIMIT >> 10)));
        err
    };
    let bound = folder.shell(&format!("ulimit -v {} && ulimit -v", LIMIT >> 10));
    if texts(&bound).0.trim() != (LIMIT >> 10).to_string() {
        return not_tested("a set larger than memory", format!("ulimit -v does not work here: {}", texts(&bound).1.trim()));
    }
    let refused = limited("table.npy");
    assert!(refused.contains("memory"), "{refused:?}");
    assert!(!folder.path("model.mfm").exists());
    assert_eq!(limited("set"), "");
    assert!(folder.succeeds(&["info", "model.mfm"]).contains("32 × 32 images of 4 channels"));
}
