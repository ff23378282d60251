use super::*;
use crate::wire::put_varint;

fn encode(head: &RequestHead<'_>, payload: &[u8]) -> Vec<u8> {
    let mut buffer = Vec::new();
    head.put_before(payload.len(), &mut buffer);
    buffer.extend_from_slice(payload);
    head.put_after(&mut buffer);
    assert_eq!(buffer.len(), head.encoded_len(payload.len()));
    buffer
}

#[test]
fn request_in_field_order() {
    let metadata = [("k", "v"), ("k", ""), ("", "")].into_iter().collect();
    let head = RequestHead {
        service: "a.B",
        method: "C",
        timeout: Some(Duration::from_nanos(300)),
        metadata: &metadata,
    };
    let data = encode(&head, b"xyz");
    assert_eq!(
        data,
        b"\x0a\x03a.B\x12\x01C\x1a\x03xyz\x20\xac\x02\x2a\x06\x0a\x01k\x12\x01v\x2a\x03\x0a\x01k\x2a\x00"
    );
    let mut request = Request::decode(data.into()).unwrap();
    assert_eq!((request.service(), request.method()), ("a.B", "C"));
    assert_eq!(request.timeout(), Ok(Some(Duration::from_nanos(300))));
    assert_eq!(request.take_metadata(), metadata);
    assert!(request.has_payload());
    assert_eq!(request.into_payload(), "xyz");
}

#[test]
fn what_is_empty_is_left_out() {
    let head = RequestHead {
        service: "S",
        method: "M",
        timeout: None,
        metadata: &Metadata::new(),
    };
    assert_eq!(encode(&head, b""), b"\x0a\x01S\x12\x01M");
    let request = Request::decode(Bytes::new()).unwrap();
    assert_eq!((request.service(), request.method()), ("", ""));
    assert_eq!(request.timeout(), Ok(None));
    assert_eq!(request.into_payload(), "");
}

#[test]
fn a_negative_timeout_is_up() {
    let mut data = vec![0x20];
    data.extend([0xff; 9]);
    data.push(0x01);
    assert_eq!(
        Request::decode(data.into()).unwrap().timeout(),
        Err(TimeIsUp)
    );
}

#[test]
fn a_timeout_without_end_stays_positive() {
    let head = RequestHead {
        service: "S",
        method: "M",
        timeout: Some(Duration::MAX),
        metadata: &Metadata::new(),
    };
    let request = Request::decode(encode(&head, b"").into()).unwrap();
    assert_eq!(
        request.timeout(),
        Ok(Some(Duration::from_nanos(i64::MAX as u64)))
    );
}

#[test]
fn responses_with_a_reply_and_with_an_error() {
    let mut buffer = Vec::new();
    put_before_reply(2, &mut buffer);
    buffer.extend(b"ok");
    assert_eq!(buffer, b"\x12\x02ok");
    assert_eq!(buffer.len(), reply_len(2));
    let response = Response::decode(buffer.into()).unwrap();
    assert_eq!((response.error, &response.payload[..]), (None, &b"ok"[..]));

    for code in [Code::NOT_FOUND, Code(-1), Code(i32::MIN), Code(1000)] {
        let status = Status::new(code, "nö").with_detail(Any {
            type_url: "t/x".into(),
            value: Bytes::from_static(b"\x01"),
        });
        let mut buffer = Vec::new();
        put_error(&status, &mut buffer);
        assert_eq!(buffer.len(), error_len(&status));
        assert_eq!(Response::decode(buffer.into()).unwrap().error, Some(status));
    }
}

#[test]
fn an_ok_status_is_a_success() {
    // The incumbent Rust implementation sends an empty status with every reply.
    let response = Response::decode(Bytes::from_static(b"\x0a\x00\x12\x02ok")).unwrap();
    assert_eq!((response.error, &response.payload[..]), (None, &b"ok"[..]));
}

#[test]
fn a_frame_of_empty_pairs_does_not_multiply_in_memory() {
    let pairs = |count| Request::decode(Bytes::from(b"\x2a\x00".repeat(count)));
    assert_eq!(
        pairs(MAX_REPEATED).unwrap().take_metadata().len(),
        MAX_REPEATED
    );
    assert!(pairs(MAX_REPEATED + 1).is_none());
    let details = |count: usize| {
        let mut data = vec![0x0a];
        put_varint(&mut data, 2 * count as u64);
        data.extend(b"\x1a\x00".repeat(count));
        Response::decode(data.into())
    };
    assert!(details(MAX_REPEATED).is_some());
    assert!(details(MAX_REPEATED + 1).is_none());
}

#[test]
fn strings_are_utf8_and_fields_have_their_type() {
    for data in [
        &b"\x0a\x01\xff"[..],
        b"\x12\x01\xff",
        b"\x08\x01",
        b"\x22\x00",
        b"\x2a\x03\x0a\x01\xff",
        b"\x1a\x05x",
    ] {
        assert!(
            Request::decode(Bytes::from_static(data)).is_none(),
            "{data:?}"
        );
    }
    for data in [
        &b"\x08\x01"[..],
        b"\x0a\x02\x12\x05",
        b"\x0a\x03\x12\x01\xff",
    ] {
        assert!(
            Response::decode(Bytes::from_static(data)).is_none(),
            "{data:?}"
        );
    }
}

#[test]
fn names_have_to_be_text_wherever_they_stand() {
    let service = [&b"\x0a\x03a.B"[..], b"\x0a\x02\xc3\xbc", b"\x0a\x01\xff"];
    let method = [&b"\x12\x01C"[..], b"\x12\x02\xc3\xb6", b"\x12\x02\xfe\x01"];
    let payload = b"\x1a\x02\xff\xff";
    let decodes = |parts: &[&[u8]]| Request::decode(parts.concat().into()).is_some();
    for (n, service) in service.into_iter().enumerate() {
        assert_eq!(decodes(&[service]), n < 2);
        for (m, method) in method.into_iter().enumerate() {
            let is_text = n < 2 && m < 2;
            assert_eq!(decodes(&[service, method, payload]), is_text);
            assert_eq!(decodes(&[method, payload, service]), is_text);
            // The last one counts; those before it have to be text as well.
            assert_eq!(decodes(&[service, method, b"\x0a\x01S"]), is_text);
            assert_eq!(decodes(&[service, method, b"\x12\x01M"]), is_text);
        }
    }
}
