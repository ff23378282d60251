use super::super::body::{FIRST_ROOM, PROVEN_LEN, capacity};
use super::*;

fn frame(id: u32, len: usize) -> Vec<u8> {
    let header = Header {
        length: len as u32,
        stream_id: StreamId::new(id),
        message_type: MessageType::DATA,
        flags: Flags::NONE,
    };
    let mut bytes = header.to_bytes().to_vec();
    bytes.extend((0..len).map(|i| (i % 251) as u8));
    bytes
}

/// Feeds `input` in pieces of `step` bytes and gives the ids and lengths found.
fn feed(input: &[u8], step: usize) -> Result<Vec<(u32, usize)>> {
    let (mut decoder, mut found, mut rest) = (Decoder::default(), Vec::new(), input);
    let mut longest = FIRST_ROOM;
    loop {
        while let Some(incoming) = decoder.decode()? {
            match incoming {
                Incoming::Frame(Frame { header, data, .. }) => {
                    assert!(data.iter().zip((0..251).cycle()).all(|(a, b)| *a == b));
                    assert_eq!(header.length as usize, data.len());
                    longest = longest.max(capacity(PROVEN_LEN, HEADER_LEN + data.len()));
                    found.push((header.stream_id.get(), data.len()));
                }
                Incoming::TooLarge(header) => found.push((header.stream_id.get(), usize::MAX)),
            }
        }
        if rest.is_empty() {
            assert!(!decoder.is_mid_frame());
            return Ok(found);
        }
        let n = match decoder.take_body() {
            None => {
                let n = step.min(rest.len());
                decoder.push(&rest[..n]);
                n
            }
            Some(mut body) => {
                let (buffer, missing) = body.buffer();
                assert!(buffer.len() >= PROVEN_LEN || buffer.capacity() <= longest);
                let n = step.min(rest.len()).min(missing);
                buffer.extend_from_slice(&rest[..n]);
                decoder.push_body(body);
                n
            }
        };
        rest = &rest[n..];
    }
}

#[test]
fn frames_come_whole_however_they_are_cut() {
    let lens = [
        0,
        1,
        100,
        0,
        OWN_BUFFER_LEN + 1,
        7,
        3 * FIRST_ROOM + 5,
        MAX_DATA_LEN,
        2,
    ];
    let mut input = Vec::new();
    let mut expected = Vec::new();
    for (i, len) in lens.into_iter().enumerate() {
        input.extend(frame(i as u32, len));
        expected.push((i as u32, len));
    }
    for step in [1000, 4096, 65_537, usize::MAX] {
        assert_eq!(feed(&input, step).unwrap(), expected, "{step}");
    }
    let small: Vec<u8> = (0..20).flat_map(|i| frame(i, i as usize)).collect();
    assert_eq!(feed(&small, 1).unwrap().len(), 20);
}

#[test]
fn behind_a_large_frame_anything_may_come() {
    const LARGE: usize = OWN_BUFFER_LEN + 1000;
    for next in [
        0,
        5,
        OWN_BUFFER_LEN,
        LARGE - 1,
        LARGE,
        LARGE + 1,
        3 * LARGE,
        MAX_DATA_LEN + 1,
    ] {
        let lens = [LARGE, next, LARGE, LARGE, next, next, LARGE];
        let input: Vec<u8> = (lens.iter().zip(0..))
            .flat_map(|(len, id)| frame(id, *len))
            .collect();
        let found = |len| if len > MAX_DATA_LEN { usize::MAX } else { len };
        let expected: Vec<_> = (0..).zip(lens.map(found)).collect();
        for step in [3, 4099, usize::MAX] {
            assert_eq!(feed(&input, step).unwrap(), expected, "{next} by {step}");
        }
    }
}

#[test]
fn what_is_only_expected_is_forgotten_where_nothing_comes() {
    let mut decoder = Decoder::default();
    decoder.push(&frame(1, OWN_BUFFER_LEN + 1));
    assert!(decoder.decode().unwrap().is_some());
    assert!(
        decoder.take_body().is_none(),
        "it has not been read on its own"
    );
    decoder.push(&frame(3, OWN_BUFFER_LEN + 1)[..100]);
    assert!(decoder.decode().unwrap().is_none());
    let mut body = decoder.take_body().unwrap();
    body.buffer().0.resize(HEADER_LEN + OWN_BUFFER_LEN + 1, 0);
    assert!(!body.goes_on());
    decoder.push_body(body);
    assert!(decoder.decode().unwrap().is_some());
    for _ in 0..2 {
        let body = decoder.take_body().expect("another one is expected");
        decoder.push_body(body);
        assert!(decoder.large.is_none() && !decoder.is_mid_frame());
    }
}

#[test]
fn an_oversize_frame_is_dropped_and_the_next_one_is_found() {
    let input = [frame(1, MAX_DATA_LEN + 1), frame(3, 5)].concat();
    for step in [9, 100_000, usize::MAX] {
        assert_eq!(feed(&input, step).unwrap(), [(1, usize::MAX), (3, 5)]);
    }
}

#[test]
fn the_reserved_byte_ends_it_before_anything_is_allocated() {
    let error = feed(&[1, 0, 0, 0, 0, 0, 0, 1, 3, 0], 10).unwrap_err();
    assert!(error.is_protocol());
}

#[test]
fn a_claimed_length_allocates_nothing_much() {
    let mut decoder = Decoder::default();
    decoder.push(&frame(1, MAX_DATA_LEN)[..20]);
    assert!(decoder.decode().unwrap().is_none());
    let mut body = decoder
        .take_body()
        .expect("a large frame has its own buffer");
    let (buffer, missing) = body.buffer();
    assert_eq!(missing, HEADER_LEN + MAX_DATA_LEN - 20);
    assert!(buffer.capacity() <= FIRST_ROOM);
}

#[test]
fn a_length_that_has_come_before_is_believed() {
    const LEN: usize = 1 << 20;
    let mut decoder = Decoder::default();
    let mut first_room = |len: usize| {
        let frame = frame(1, len);
        decoder.push(&frame[..20]);
        assert!(decoder.decode().unwrap().is_none());
        let mut body = decoder.take_body().unwrap();
        let room = body.buffer().0.capacity();
        while body.goes_on() {
            let (buffer, missing) = body.buffer();
            let at = frame.len() - missing;
            let some = missing.min(buffer.capacity() - buffer.len());
            buffer.extend_from_slice(&frame[at..at + some]);
        }
        decoder.push_body(body);
        assert!(decoder.decode().unwrap().is_some());
        room
    };
    assert!(first_room(LEN) <= FIRST_ROOM);
    assert!(first_room(LEN) >= LEN);
    assert!(first_room(LEN + 1) <= FIRST_ROOM);
}

#[test]
fn what_waits_for_more_does_not_keep_the_whole_chunk() {
    let mut decoder = Decoder::default();
    decoder.push(&[&frame(1, 60_000)[..], &frame(3, 9)[..12]].concat());
    assert!(decoder.decode().unwrap().is_some());
    assert!(decoder.decode().unwrap().is_none());
    assert_eq!((decoder.chunk.len(), decoder.chunk_len), (12, 12));
}

/// What streams keep is counted by the length of what came.
#[test]
fn a_frame_does_not_keep_the_room_of_a_longer_one_that_was_expected() {
    const SHORT: usize = OWN_BUFFER_LEN + 1;
    let mut decoder = Decoder::default();
    let mut expected_room = |len: usize| {
        let mut rest = &frame(1, len)[..];
        let mut room = 0;
        while !rest.is_empty() {
            let Some(mut body) = decoder.take_body() else {
                let some;
                (some, rest) = rest.split_at(20);
                decoder.push(some);
                assert!(decoder.decode().unwrap().is_none());
                continue;
            };
            let (buffer, missing) = body.buffer();
            room = buffer.capacity();
            let some = missing.min(room - buffer.len()).min(rest.len());
            buffer.extend_from_slice(&rest[..some]);
            rest = &rest[some..];
            decoder.push_body(body);
        }
        let Some(Incoming::Frame(Frame { data, memory, .. })) = decoder.decode().unwrap() else {
            panic!("a frame has come");
        };
        assert!(data.iter().zip((0..251).cycle()).all(|(a, b)| *a == b));
        let kept = data.try_into_mut().unwrap().capacity();
        assert!(
            kept <= 2 * memory.1,
            "{kept} bytes are kept for {}",
            memory.1
        );
        room
    };
    expected_room(MAX_DATA_LEN);
    assert!(expected_room(SHORT) > MAX_DATA_LEN);
    assert!(expected_room(SHORT) < MAX_DATA_LEN);
}

#[test]
fn a_message_behind_a_small_frame_of_another_type_is_counted_with_all_that_it_keeps() {
    let mut other = frame(1, 0);
    other[8] = 0x7f;
    let mut decoder = Decoder::default();
    decoder.push(&[other, frame(1, 1)].concat());
    assert!(decoder.decode().unwrap().is_some());
    let Some(Incoming::Frame(message)) = decoder.decode().unwrap() else {
        panic!("a message has come");
    };
    assert!(message.memory.1 >= Small::MOST);
}
