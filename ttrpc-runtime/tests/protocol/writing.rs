//! How an endpoint's output leaves, a part at a time.

use std::io::IoSlice;

use ttrpc_runtime::proto::{Endpoint, Output};

/// Writes up to `most` bytes of the output, of which `writing` has what was taken before.
pub fn write(endpoint: &mut impl Endpoint, writing: &mut Output, most: usize) -> Vec<u8> {
    let mut written = Vec::new();
    while written.len() < most {
        if writing.is_empty() {
            endpoint.link().take_output(writing);
            if writing.is_empty() {
                break;
            }
        }
        let mut slices = [IoSlice::new(&[]); 3];
        let used = writing.slices(&mut slices);
        assert!(used > 0, "output that is not empty has bytes");
        let before = written.len();
        for slice in &slices[..used] {
            let len = slice.len().min(most - written.len());
            written.extend_from_slice(&slice[..len]);
        }
        writing.advance(written.len() - before);
        endpoint.link().set_writing(writing.len());
    }
    written
}
