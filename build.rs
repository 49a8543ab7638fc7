//! Compiles `proto/` into types and their proto3 JSON mapping, without a system `protoc`.

use std::error::Error;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new("proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let mut files = Vec::new();
    collect(root, &mut files)?;
    files.sort();
    let descriptors = protox::compile(&files, [root])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let services = tonic_prost_build::configure().build_client(true).build_server(true).service_generator();
    prost_build::Config::new()
        .service_generator(services)
        .bytes(["."])
        // One message always has the same bytes: generated messages are compared, hashes are made of them.
        .btree_map(["."])
        // What is refused is called by the name of the message that was expected.
        .enable_type_names()
        .compile_well_known_types()
        .extern_path(".google.protobuf", "::pbjson_types")
        .compile_fds(descriptors.clone())?;
    let mut mapping = pbjson_build::Builder::new();
    for file in &descriptors.file {
        mapping.register_file_descriptor(file.clone());
    }
    mapping
        .extern_path(".google.protobuf", "::pbjson_types")
        .btree_map(["."])
        .preserve_proto_field_names()
        .ignore_unknown_fields();
    mapping.out_dir(out).build(&[".chalk", ".chalk_writer"])?;
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    Ok(())
}
