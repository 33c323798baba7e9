package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/joho/godotenv"
)

// merge puts the environment over the .env file, and drops what is empty.
func merge(environ []string, path string, f *faults) map[string]string {
	vars := dotenv(path, f)
	for _, v := range environ {
		if name, value, ok := strings.Cut(v, "="); ok {
			vars[name] = value
		}
	}
	for name, value := range vars {
		value = strings.TrimSpace(value)
		// envconfig takes an empty TEMPORAL_GRPC_META_* as one that removes a header of temporal.toml.
		if value == "" && !strings.HasPrefix(name, "TEMPORAL_GRPC_META_") {
			delete(vars, name)
			continue
		}
		vars[name] = value
	}
	return vars
}

// Variable is the value of a variable that no process needs, and so is none of a Config; empty where it is not set.
func Variable(name string, environ []string, dotenvPath string) string {
	var f faults // Load tells them.
	return merge(environ, dotenvPath, &f)[name]
}

// dotenv reads the file. The parser's errors show what stands in the file, so they are not used.
func dotenv(path string, f *faults) map[string]string {
	const remedy = "each line must be NAME=value, a comment or empty"
	if path == "" {
		return map[string]string{}
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]string{}
	}
	if err != nil {
		f.add(path, "cannot be read", err.Error())
		return map[string]string{}
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff")) // which editors put before UTF-8
	if !utf8.Valid(text) || bytes.ContainsRune(text, 0) {
		f.add(path, "is no text in UTF-8", "save it as UTF-8")
		return map[string]string{}
	}
	vars, err := parseDotenv(string(text))
	if err != nil {
		f.add(path, fmt.Sprintf("is malformed at line %d", badLine(string(text))), remedy)
		return map[string]string{}
	}
	return vars
}

// parseDotenv parses the text of a .env file. A last line without "=" is an error like any other: godotenv alone
// would take it as the value of a variable without a name.
func parseDotenv(text string) (map[string]string, error) {
	vars, err := godotenv.Unmarshal(text)
	if err != nil {
		return nil, err
	}
	if _, nameless := vars[""]; nameless {
		return nil, errors.New("value without a name")
	}
	return vars, nil
}

// badLine is the line at which a malformed text stops being well formed: the one after the longest start of whole
// lines that is.
func badLine(text string) int {
	lines := slices.Collect(strings.Lines(text))
	for n := len(lines) - 1; n > 0; n-- {
		if _, err := parseDotenv(strings.Join(lines[:n], "")); err == nil {
			return n + 1
		}
	}
	return 1
}
