//! Has cargo look again when the web page was built anew: its files are embedded into the binary.

fn main() {
    println!("cargo::rerun-if-changed=web/dist");
    println!("cargo::rerun-if-changed=templates");
}
