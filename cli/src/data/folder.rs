//! Images by class: `FOLDER/CLASS/*.png`, `.jpg` or `.jpeg`.

use super::Dataset;
use super::image::{Image, is_image};
use crate::failure::{Failure, Result};
use std::path::{Path, PathBuf};

/// The images in the folders of a folder, one a row, channel after channel; labels count the classes in the order of their names. Hidden files are
/// passed over, as are files beside the folders of classes.
///
/// # Errors
/// One sentence naming the file or folder: it is empty, damaged, no image, or of another size than the image before it.
pub(super) fn load(folder: &Path) -> Result<Dataset> {
    let source = folder.display().to_string();
    let classes: Vec<PathBuf> = entries(folder)?.into_iter().filter(|path| path.is_dir()).collect();
    if classes.is_empty() {
        return Err(Failure::input(format!("{source}: there is no folder of images in it, one for each class, and no .safetensors shard")));
    }
    let mut data = Dataset { source, ..Dataset::default() };
    let mut first: Option<(PathBuf, [usize; 3])> = None;
    let mut labels = Vec::new();
    for (label, class) in classes.iter().enumerate() {
        let files = entries(class)?;
        if files.is_empty() {
            return Err(Failure::input(format!("{}: there is no image in this class", class.display())));
        }
        for path in files {
            let image = read(&path)?;
            let (other, shape) = first.get_or_insert_with(|| (path.clone(), image.shape));
            if image.shape != *shape {
                let what = format!("it is {}, but {} before it is {}", size(image.shape), other.display(), size(*shape));
                return Err(Failure::input(format!("{}: {what}", path.display())));
            }
            data.rows.extend(image.values);
            labels.push(label);
        }
        data.classes.push(name(class));
    }
    data.image = first.map(|(_, shape)| shape);
    data.dimension = data.image.map_or(0, |shape| shape.iter().product());
    data.labels = Some(labels);
    Ok(data)
}

/// The image in a file.
fn read(path: &Path) -> Result<Image> {
    if path.is_dir() || !is_image(&name(path).to_lowercase()) {
        return Err(Failure::input(format!("{}: in the folder of a class there may only be .png, .jpg and .jpeg images", path.display())));
    }
    Image::read(&mfm_nn::file::read(path)?, &path.display().to_string())
}

/// What is in a folder, by name, without what is hidden.
pub(super) fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let fail = |error: std::io::Error| Failure::file("read", folder, &error);
    let all = std::fs::read_dir(folder).map_err(fail)?.map(|entry| entry.map(|entry| entry.path()).map_err(fail));
    let mut paths: Vec<PathBuf> = all.collect::<Result<_>>()?;
    paths.retain(|path| !name(path).starts_with('.'));
    paths.sort();
    Ok(paths)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn size([channels, height, width]: [usize; 3]) -> String {
    let kind = if channels == 1 { "a grey" } else { "an RGB" };
    format!("{kind} image of {width} × {height} pixels")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GREY: &[u8] = include_bytes!("../../tests/images/grey.png");
    const RGB: &[u8] = include_bytes!("../../tests/images/rgb.png");
    const JPEG: &[u8] = include_bytes!("../../tests/images/rgb.jpg");

    fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        folder
    }

    fn complaint(files: &[(&str, &[u8])]) -> String {
        let folder = folder(files);
        let what = load(folder.path()).unwrap_err().to_string();
        what.replace(&format!("{}/", folder.path().display()), "")
    }

    #[test]
    fn classes_count_by_name() {
        let folder = folder(&[("dog/b.png", RGB), ("cat/2.jpeg", JPEG), ("dog/a.PNG", RGB), ("dog/.hidden", b""), ("README", b"x")]);
        let data = load(folder.path()).unwrap();
        assert_eq!((data.len(), data.dimension, data.image), (3, 768, Some([3, 16, 16])));
        assert_eq!((data.labels.as_deref(), &data.classes[..]), (Some(&[0, 1, 1][..]), &["cat".to_owned(), "dog".to_owned()][..]));
        assert_eq!(data.row(1), data.row(2));
        assert_ne!(data.row(0), data.row(1));
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(complaint(&[("a.png", RGB)]).contains("there is no folder of images in it, one for each class"));
        assert_eq!(complaint(&[("cat/a.png", RGB), ("dog/.x", b"")]), "dog: there is no image in this class");
        assert_eq!(
            complaint(&[("cat/a.png", RGB), ("dog/b.png", GREY)]),
            "dog/b.png: it is a grey image of 16 × 16 pixels, but cat/a.png before it is an RGB image of 16 × 16 pixels"
        );
        assert!(complaint(&[("cat/a.png", RGB), ("cat/b.txt", b"x")]).starts_with("cat/b.txt: in the folder of a class"));
        assert!(complaint(&[("cat/a.png", &RGB[..300])]).starts_with("cat/a.png: the PNG image is cut off"));
        assert_eq!(complaint(&[("cat/a.jpg", b"")]), "cat/a.jpg: the file is empty");
    }
}
