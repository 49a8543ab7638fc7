//! Certificates of a test's own, made with `openssl`: authorities, and what they sign.

#![allow(dead_code, reason = "each suite uses the part that it needs")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// An authority and the folder that everything it signs lies in.
pub(crate) struct Authority {
    folder: tempfile::TempDir,
}

/// A certificate and its key, as files in PEM.
#[derive(Clone, Debug)]
pub(crate) struct Signed {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Authority {
    /// A new one.
    pub(crate) fn new(name: &str) -> Self {
        let authority = Self { folder: tempfile::tempdir().expect("a folder for certificates") };
        let (key, certificate) = (authority.path("ca.key"), authority.certificate());
        openssl(&[
            &["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", &format!("/CN={name}")],
            &["-addext", "keyUsage=critical,keyCertSign,cRLSign", "-keyout", &text(&key), "-out", &text(&certificate)],
        ]);
        authority
    }

    /// Its own certificate, which clients are to trust.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.path("ca.crt")
    }

    /// A certificate for a common name, with alternative names as `openssl` writes them
    /// (`DNS:localhost,IP:127.0.0.1`).
    pub(crate) fn sign(&self, common_name: &str, names: &str) -> Signed {
        self.sign_for(common_name, names, "30")
    }

    /// The same, but it has expired.
    pub(crate) fn sign_expired(&self, common_name: &str, names: &str) -> Signed {
        let signed = self.sign_for(common_name, names, "0");
        // It holds for the second in which it was made.
        let valid = || {
            let mut openssl = Command::new("openssl");
            openssl.args(["x509", "-noout", "-checkend", "0", "-in"]).arg(&signed.certificate);
            openssl.output().expect("openssl can be started").status.success()
        };
        while valid() {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        signed
    }

    fn sign_for(&self, common_name: &str, names: &str, days: &str) -> Signed {
        let file = |ending: &str| self.path(&format!("{common_name}.{ending}"));
        let (key, request, certificate, extensions) = (file("key"), file("csr"), file("crt"), file("ext"));
        openssl(&[
            &["req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", &format!("/CN={common_name}")],
            &["-keyout", &text(&key), "-out", &text(&request)],
        ]);
        std::fs::write(&extensions, format!("subjectAltName={names}\n")).expect("a file of extensions");
        openssl(&[
            &["x509", "-req", "-days", days, "-in", &text(&request), "-out", &text(&certificate)],
            &["-CA", &text(&self.certificate()), "-CAkey", &text(&self.path("ca.key")), "-CAcreateserial"],
            &["-extfile", &text(&extensions)],
        ]);
        Signed { certificate, key }
    }

    /// A file of its folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn text(path: &Path) -> String {
    path.to_str().expect("a path of text").to_owned()
}

fn openssl(arguments: &[&[&str]]) {
    let done = Command::new("openssl").args(arguments.iter().copied().flatten()).output();
    let done = done
        .unwrap_or_else(|error| panic!("openssl cannot be started ({error}); `./dev test` installs what tests need"));
    assert!(done.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
}
