# Everything that a fresh machine needs is fetched by these targets: Go is all that they start from.

GOFUMPT      := go run mvdan.cc/gofumpt@v0.12.0
STATICCHECK  := go run honnef.co/go/tools/cmd/staticcheck@v0.8.2
WORKFLOWCHECK := go run go.temporal.io/sdk/contrib/tools/workflowcheck@v0.6.0

# The race detector needs a C compiler; without one the tests run all the same.
RACE := $(if $(shell command -v $${CC:-gcc}),-race)

.PHONY: build test check bench screenshots

build: ## the binary, stripped
	CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o countersign .

test: ## all tests; the first run fetches or builds the Temporal CLI
	go test $(RACE) -shuffle=on -timeout 30m $$(go list ./... | grep -v '/e2e$$')
	go test $(RACE) -timeout 30m ./e2e # in its order: those that wait longest begin first

check: ## format, static checks, tidiness
	@unformatted="$$($(GOFUMPT) -l .)"; if [ -n "$$unformatted" ]; then echo "run gofumpt -w on:"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	$(STATICCHECK) ./...
	$(WORKFLOWCHECK) ./...
	go mod tidy -diff

bench: ## what a click costs before it reaches Temporal
	go test -run '^$$' -bench . -benchmem ./bot ./internal/reference

screenshots: ## the README's picture, docs/demo.png, and those of the cards, docs/cards; needs chromium
	go test ./e2e -count=1 -run 'Screenshots$$' -screenshots -v
