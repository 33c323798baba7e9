package reference

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

const (
	keySize  = 32 // AES-256
	idLength = 6  // characters of a key ID
)

// Keys are the keys of a deployment: the first seals, every one opens. They are safe for concurrent use.
// Printed or logged, they show their IDs only.
type Keys struct {
	keys []key
}

type key struct {
	id     string
	prefix string // of every reference that this key seals; also the additional data
	aead   cipher.AEAD
}

// NewKey returns a fresh key, as it stands in REFERENCE_KEYS.
func NewKey() string {
	b := make([]byte, keySize)
	rand.Read(b) // never fails
	return base64.StdEncoding.EncodeToString(b)
}

// ParseKeys reads comma-separated keys, each 32 bytes in base64, of either alphabet, padded or not. Spaces around a
// key and empty items are ignored; without any key there is an error. The error names every item that is wrong by its
// position, never by its text, and says what to do.
func ParseKeys(s string) (*Keys, error) {
	k := new(Keys)
	var faults []string
	for i, item := range strings.Split(s, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		made, err := parseKey(item)
		if _, twice := k.find(made.id); err == nil && twice {
			err = errors.New("repeats another")
		}
		if err != nil {
			faults = append(faults, fmt.Sprintf("item %d %v", i+1, err))
			continue
		}
		k.keys = append(k.keys, made)
	}
	if len(k.keys) == 0 && len(faults) == 0 {
		faults = append(faults, "there is no key")
	}
	if len(faults) > 0 {
		return nil, fmt.Errorf("%s: each key must be one that `countersign key` printed", strings.Join(faults, ", "))
	}
	return k, nil
}

// IDs returns the IDs of the keys in their order. They are not secret.
func (k *Keys) IDs() []string {
	if k == nil {
		return nil
	}
	ids := make([]string, len(k.keys))
	for i, key := range k.keys {
		ids[i] = key.id
	}
	return ids
}

// String names the keys by their IDs.
func (k *Keys) String() string { return "keys " + strings.Join(k.IDs(), ", ") }

// GoString names the keys by their IDs.
func (k *Keys) GoString() string {
	return fmt.Sprintf("reference.Keys(%s)", strings.Join(k.IDs(), ", "))
}

// LogValue names the keys by their IDs.
func (k *Keys) LogValue() slog.Value { return slog.AnyValue(k.IDs()) }

func (k *Keys) find(id string) (key, bool) {
	if k != nil {
		for _, key := range k.keys {
			if key.id == id {
				return key, true
			}
		}
	}
	return key{}, false
}

// parseKey reads one key. Its errors are said of the key: "is not base64".
func parseKey(s string) (key, error) {
	s = strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimRight(s, "="))
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return key{}, errors.New("is not base64")
	}
	if len(b) != keySize {
		return key{}, fmt.Errorf("has %d bytes instead of %d", len(b), keySize)
	}
	block, err := aes.NewCipher(b)
	if err != nil {
		return key{}, fmt.Errorf("makes no cipher: %w", err)
	}
	// A random nonce of 96 bits is good for 2^32 references with one key.
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return key{}, fmt.Errorf("makes no cipher: %w", err)
	}
	sum := sha256.Sum256(b)
	id := base64URL.EncodeToString(sum[:])[:idLength]
	return key{id: id, prefix: version + "." + id + ".", aead: aead}, nil
}

// Encrypt encrypts with the first key, which has the ID.
func (k *Keys) Encrypt(plain []byte) (id string, sealed []byte) {
	return k.keys[0].id, k.keys[0].aead.Seal(nil, nil, plain, nil)
}

// Decrypt decrypts what Encrypt made with the key of that ID.
func (k *Keys) Decrypt(id string, sealed []byte) ([]byte, error) {
	key, ok := k.find(id)
	if !ok {
		return nil, fmt.Errorf("there is no key %.20q: the keys are [%s]", id, strings.Join(k.IDs(), ", "))
	}
	plain, err := key.aead.Open(nil, nil, sealed, nil)
	if err != nil {
		return nil, errors.New("it was changed, or made with another key")
	}
	return plain, nil
}

// UnmarshalText reads keys as ParseKeys does.
func (k *Keys) UnmarshalText(text []byte) error {
	parsed, err := ParseKeys(string(text))
	if err != nil {
		return err
	}
	*k = *parsed
	return nil
}
