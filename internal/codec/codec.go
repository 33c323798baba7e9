// Package codec encrypts what Temporal stores: the inputs and results of workflows and activities, their memos, and with
// them what is asked of people.
package codec

import (
	"fmt"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"
	"google.golang.org/protobuf/proto"

	"countersign/internal/reference"
)

// The form of an encrypted payload, which Temporal's samples have in every language too: its data is a nonce of 12 bytes
// and the AES-256-GCM of the whole payload, without additional data.
// https://docs.temporal.io/payload-codec
const (
	encoding = "binary/encrypted"
	keyID    = "encryption-key-id"
)

// Codec encrypts payloads with the first of its keys, and decrypts with every one. Payloads that are not encrypted it
// leaves as they are, so that what was begun without it goes on. Without keys it encrypts nothing, and refuses what is
// encrypted.
type Codec struct{ Keys *reference.Keys }

// Encode implements [converter.PayloadCodec].
func (c Codec) Encode(payloads []*commonpb.Payload) ([]*commonpb.Payload, error) {
	if c.Keys == nil {
		return payloads, nil
	}
	all := make([]*commonpb.Payload, len(payloads))
	for i, p := range payloads {
		plain, err := proto.Marshal(p)
		if err != nil {
			return nil, fmt.Errorf("encrypt a payload: %w", err)
		}
		id, data := c.Keys.Encrypt(plain)
		all[i] = &commonpb.Payload{
			Metadata: map[string][]byte{converter.MetadataEncoding: []byte(encoding), keyID: []byte(id)},
			Data:     data,
		}
	}
	return all, nil
}

// Decode implements [converter.PayloadCodec].
func (c Codec) Decode(payloads []*commonpb.Payload) ([]*commonpb.Payload, error) {
	all := make([]*commonpb.Payload, len(payloads))
	for i, p := range payloads {
		if string(p.GetMetadata()[converter.MetadataEncoding]) != encoding {
			all[i] = p
			continue
		}
		plain, err := c.Keys.Decrypt(string(p.GetMetadata()[keyID]), p.GetData())
		if err != nil {
			return nil, fmt.Errorf("decrypt a payload: %w", err)
		}
		all[i] = new(commonpb.Payload)
		if err := proto.Unmarshal(plain, all[i]); err != nil {
			return nil, fmt.Errorf("decrypt a payload: %w", err)
		}
	}
	return all, nil
}
