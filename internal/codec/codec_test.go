package codec

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"countersign/internal/reference"
)

const word = "marzipan"

// keyed is a codec with keys as they stand in PAYLOAD_KEYS.
func keyed(t *testing.T, keys ...string) Codec {
	t.Helper()
	k, err := reference.ParseKeys(strings.Join(keys, ","))
	if err != nil {
		t.Fatal(err)
	}
	return Codec{Keys: k}
}

// plain are payloads as the SDK makes them.
func plain(t *testing.T, values ...any) []*commonpb.Payload {
	t.Helper()
	all, err := converter.GetDefaultDataConverter().ToPayloads(values...)
	if err != nil {
		t.Fatal(err)
	}
	return all.GetPayloads()
}

func encode(t *testing.T, c converter.PayloadCodec, all []*commonpb.Payload) []*commonpb.Payload {
	t.Helper()
	sealed, err := c.Encode(all)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func isSame(t *testing.T, c converter.PayloadCodec, sealed, want []*commonpb.Payload) {
	t.Helper()
	got, err := c.Decode(sealed)
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" || err != nil {
		t.Errorf("decrypted with %v (-want +got):\n%s", err, diff)
	}
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for name, values := range map[string][]any{
		"text":     {word},
		"nothing":  {nil},
		"bytes":    {[]byte(word)},
		"several":  {word, 7, map[string]string{"a": word}, nil},
		"protobuf": {&commonpb.WorkflowExecution{WorkflowId: word}},
		"large":    {strings.Repeat(word, 1<<12)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, all := keyed(t, reference.NewKey()), plain(t, values...)
			before := make([]*commonpb.Payload, len(all))
			for i, p := range all {
				before[i] = proto.CloneOf(p)
			}
			sealed := encode(t, c, all)
			for _, p := range sealed {
				if b, err := proto.Marshal(p); err != nil || bytes.Contains(b, []byte(word)) {
					t.Errorf("encrypted it is %q, %v", b, err)
				}
			}
			isSame(t, c, sealed, before)
			if diff := cmp.Diff(before, all, protocmp.Transform()); diff != "" {
				t.Errorf("what was given has changed (-want +got):\n%s", diff)
			}
		})
	}
}

// The form is that of Temporal's samples: others can read it with the key.
func TestWireForm(t *testing.T) {
	t.Parallel()
	key := reference.NewKey()
	c, all := keyed(t, key), plain(t, word)
	sealed := encode(t, c, all)[0]
	want := map[string][]byte{"encoding": []byte("binary/encrypted"), "encryption-key-id": []byte(c.Keys.IDs()[0])}
	if diff := cmp.Diff(want, sealed.GetMetadata()); diff != "" {
		t.Errorf("metadata (-want +got):\n%s", diff)
	}
	raw, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(raw)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	serialized, err := aead.Open(nil, sealed.GetData()[:12], sealed.GetData()[12:], nil)
	if err != nil {
		t.Fatal(err)
	}
	var got commonpb.Payload
	if err := proto.Unmarshal(serialized, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(all[0], &got, protocmp.Transform()); diff != "" {
		t.Errorf("payload (-want +got):\n%s", diff)
	}
	if n := len(sealed.GetData()) - len(serialized); n != 12+16 {
		t.Errorf("it is longer by %d bytes, want those of a nonce and a tag", n)
	}

	// And what they encrypt can be read here.
	nonce := []byte("12 bytes.  .")
	theirs := &commonpb.Payload{Metadata: want, Data: aead.Seal(nonce, nonce, serialized, nil)}
	isSame(t, c, []*commonpb.Payload{theirs}, all)
}

func TestNonce(t *testing.T) {
	t.Parallel()
	c, all := keyed(t, reference.NewKey()), plain(t, word, word)
	seen := map[string]bool{}
	for range 100 {
		for _, p := range encode(t, c, all) {
			if nonce := string(p.GetData()[:12]); seen[nonce] {
				t.Fatalf("the nonce %x comes twice", nonce)
			} else {
				seen[nonce] = true
			}
		}
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	older, newer := reference.NewKey(), reference.NewKey()
	before, during, after := keyed(t, older), keyed(t, newer, older), keyed(t, newer)
	all := plain(t, word)
	old, now := encode(t, before, all), encode(t, during, all)
	if got, want := string(now[0].GetMetadata()[keyID]), after.Keys.IDs()[0]; got != want {
		t.Errorf("encrypted with the key %s, want the first, %s", got, want)
	}
	isSame(t, before, old, all)
	isSame(t, during, old, all)
	isSame(t, during, now, all)
	isSame(t, after, now, all)
	isSame(t, during, append(old, now...), append(all, all...))
}

// What was begun without keys goes on.
func TestPlain(t *testing.T) {
	t.Parallel()
	c := keyed(t, reference.NewKey())
	all := append(plain(t, word, nil, []byte(word)), &commonpb.Payload{}, &commonpb.Payload{
		Metadata: map[string][]byte{converter.MetadataEncoding: []byte("binary/zlib")}, Data: []byte(word),
	})
	isSame(t, c, all, all)
	mixed := append(encode(t, c, all[:1]), all[1:]...)
	isSame(t, c, mixed, all)
}

func TestUnreadable(t *testing.T) {
	t.Parallel()
	key := reference.NewKey()
	c := keyed(t, key)
	const none = "there is no key "
	const changed = "it was changed, or made with another key"
	for name, tc := range map[string]struct {
		change func(*commonpb.Payload)
		want   string
	}{
		"a key that is not here":    {func(p *commonpb.Payload) { p.Metadata[keyID] = []byte("abcdef") }, none + `"abcdef": the keys are [` + c.Keys.IDs()[0] + "]"},
		"a long key ID":             {func(p *commonpb.Payload) { p.Metadata[keyID] = bytes.Repeat([]byte("a"), 100) }, none + `"aaaaaaaaaaaaaaaaaaaa": `},
		"no key ID":                 {func(p *commonpb.Payload) { delete(p.Metadata, keyID) }, none + `""`},
		"a byte is changed":         {func(p *commonpb.Payload) { p.Data[len(p.Data)/2] ^= 1 }, changed},
		"the nonce is changed":      {func(p *commonpb.Payload) { p.Data[0] ^= 1 }, changed},
		"the tag is changed":        {func(p *commonpb.Payload) { p.Data[len(p.Data)-1] ^= 1 }, changed},
		"cut short":                 {func(p *commonpb.Payload) { p.Data = p.Data[:len(p.Data)-1] }, changed},
		"shorter than a nonce":      {func(p *commonpb.Payload) { p.Data = p.Data[:11] }, changed},
		"no data":                   {func(p *commonpb.Payload) { p.Data = nil }, changed},
		"plain text that claims so": {func(p *commonpb.Payload) { p.Data = []byte(`"` + word + ` ` + word + ` ` + word + `"`) }, changed},
		"another key of that ID": {func(p *commonpb.Payload) {
			_, p.Data = keyed(t, reference.NewKey()).Keys.Encrypt([]byte(word))
		}, changed},
		"no payload within": {func(p *commonpb.Payload) { _, p.Data = c.Keys.Encrypt([]byte(word)) }, "decrypt a payload: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := encode(t, c, plain(t, word, word))
			tc.change(all[1])
			got, err := c.Decode(all)
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.HasPrefix(err.Error(), "decrypt a payload: ") {
				t.Errorf("the error is %v, want %q", err, tc.want)
			}
			if got != nil || strings.Contains(err.Error(), word) || strings.Contains(err.Error(), key[:10]) {
				t.Errorf("beside the error %q there is %v", err, got)
			}
			// The client has the same error, and it is known as one that may go away.
			data, _ := Converters(c)
			var e *Error
			var s string
			if err := data.FromPayload(all[1], &s); !errors.As(err, &e) || !strings.Contains(err.Error(), tc.want) || s != "" {
				t.Errorf("the data converter says %v, and %q", err, s)
			}
		})
	}
}

// A process that has no keys refuses what others have encrypted, and hides nothing.
func TestNoKeys(t *testing.T) {
	t.Parallel()
	encrypted := encode(t, keyed(t, reference.NewKey()), plain(t, "World"))[0]
	data, failures := Converters(Codec{})
	var (
		e *Error
		s string
	)
	if err := data.FromPayload(encrypted, &s); !errors.As(err, &e) || s != "" {
		t.Errorf("reads %q, with the error %v", s, err)
	}
	p, err := data.ToPayload("World")
	if err != nil || string(p.GetData()) != `"World"` {
		t.Errorf("writes %v, with the error %v", p, err)
	}
	if err := data.FromPayload(p, &s); err != nil || s != "World" {
		t.Errorf("reads %q of plain text, with the error %v", s, err)
	}
	if f := failures.ErrorToFailure(errors.New("no such channel")); f.GetMessage() != "no such channel" || f.GetEncodedAttributes() != nil {
		t.Errorf("the failure is %v", f)
	}
}
