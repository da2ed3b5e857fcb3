//! Saving over what is there: a link stays a link, permissions stay, and what is no plain file is refused.

use mfm_nn::file::{save, whole};
use std::fs;
use std::io::ErrorKind::StorageFull;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, symlink};

#[test]
fn links_and_permissions_stay() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("far")).unwrap();
    symlink("b", path("a")).unwrap();
    symlink("far/c.mfm", path("b")).unwrap();
    // At first what the links name is not there yet.
    save(path("a"), b"old").unwrap();
    fs::set_permissions(path("far/c.mfm"), fs::Permissions::from_mode(0o600)).unwrap();
    save(path("a"), b"new").unwrap();
    assert!(path("a").is_symlink() && path("b").is_symlink());
    assert_eq!(fs::read(path("far/c.mfm")).unwrap(), b"new");
    assert_eq!(fs::metadata(path("far/c.mfm")).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(fs::read_dir(path("far")).unwrap().count(), 1);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
}

// Only root may give files away, so only root can try it: users would else be locked out of their own models.
#[test]
fn the_owner_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.mfm");
    save(&path, b"old").unwrap();
    if chown(&path, Some(1000), Some(1000)).is_err() {
        println!("not tried: this user may not give files away");
        return;
    }
    save(&path, b"new").unwrap();
    let about = fs::metadata(&path).unwrap();
    assert_eq!((fs::read(&path).unwrap().as_slice(), about.uid(), about.gid()), (&b"new"[..], 1000, 1000));
}

#[test]
fn what_a_rename_would_destroy_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let refuses = |name: &str, why: &str| {
        let complaint = save(path(name), b"new").unwrap_err().to_string();
        assert_eq!(complaint, format!("cannot write {}: {why}", path(name).display()));
    };
    fs::create_dir(path("folder")).unwrap();
    refuses("folder", "this is no plain file");
    let socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
    refuses("socket", "this is no plain file");
    assert!(fs::metadata(path("socket")).unwrap().file_type().is_socket());
    drop(socket);
    fs::write(path("kept"), b"precious").unwrap();
    fs::set_permissions(path("kept"), fs::Permissions::from_mode(0o444)).unwrap();
    refuses("kept", "the file is read-only");
    assert_eq!(fs::read(path("kept")).unwrap(), b"precious");
    symlink("d", path("d")).unwrap();
    refuses("d", "its links lead to no end");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4);
}

#[test]
fn a_failed_write_leaves_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.mfm");
    save(&path, b"old").unwrap();
    let failed = whole::write(&path, |file| {
        file.write_all(b"half of the new")?;
        Err(StorageFull.into())
    });
    assert_eq!(failed.unwrap_err().kind(), StorageFull);
    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn what_a_killed_writer_left_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let names = || fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    // As long as a name can be.
    for name in ["a.mfm".to_owned(), "a".repeat(255)] {
        let path = folder.path().join(&name);
        let mut left = None;
        whole::write(&path, |_| {
            left = names().into_iter().find(|found| *found != *name);
            Ok(())
        })
        .unwrap();
        let left = folder.path().join(left.unwrap());
        assert!(!left.exists());
        fs::write(&left, b"half").unwrap();
        let other = folder.path().join(".a.mfm.tmp");
        fs::write(&other, b"whole").unwrap();
        whole::remove_remains(&path);
        assert!(!left.exists() && other.exists() && path.exists());
        fs::remove_file(&other).unwrap();
        fs::remove_file(&path).unwrap();
    }
}
