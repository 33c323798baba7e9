# Everything that a fresh machine needs is fetched by these targets: Go is all that they start from.

GOFUMPT      := go run mvdan.cc/gofumpt@v0.12.0
STATICCHECK  := go run honnef.co/go/tools/cmd/staticcheck@v0.8.2
WORKFLOWCHECK := go run go.temporal.io/sdk/contrib/tools/workflowcheck@v0.6.0
GOVULNCHECK  := go run golang.org/x/vuln/cmd/govulncheck@v1.9.0

# The race detector needs a C compiler; without one the tests run all the same.
RACE := $(if $(shell command -v $${CC:-gcc}),-race)

.PHONY: build test check bench vuln screenshots fuzz faults

# What `countersign version` says that the binary is.
STAMP ?= $(shell git describe --tags --always --dirty 2>/dev/null)

build: ## the binary, stripped
	CGO_ENABLED=0 go build -trimpath -ldflags="-s -w -X main.stamp=$(STAMP)" -o countersign .

test: ## all tests; the first run fetches or builds the Temporal CLI
	go test $(RACE) -shuffle=on -timeout 30m $$(go list ./... | grep -v '/e2e$$')
	go test $(RACE) -timeout 30m ./e2e # in its order: those that wait longest begin first

check: ## format, static checks, tidiness
	@unformatted="$$($(GOFUMPT) -l .)"; if [ -n "$$unformatted" ]; then echo "run gofumpt -w on:"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	$(STATICCHECK) ./...
	$(WORKFLOWCHECK) ./...
	go mod tidy -diff

# Where the database of vulnerabilities is.
VULNDB ?= https://vuln.go.dev

vuln: ## known vulnerabilities that our code reaches
	@$(GOVULNCHECK) -db $(VULNDB) -version | grep '^DB updated: [^0]' || { \
		echo "there is no database of vulnerabilities at $(VULNDB): unpack https://vuln.go.dev/vulndb.zip, fetched elsewhere," \
			"and run make vuln VULNDB=file:///ITS/FOLDER" >&2; exit 1; }
	$(GOVULNCHECK) -db $(VULNDB) ./...

bench: ## what it costs, measured (docs/scale.md): ONLY=clicks,pacing for some of it, PROFILES=FOLDER to see where it goes
	go test ./e2e -run '^TestBench$$' -count=1 -v -timeout 90m -measure=$(or $(ONLY),all) $(if $(PROFILES),-measure.profiles=$(abspath $(PROFILES)))

FUZZTIME ?= 30s
fuzz: ## the fuzz tests, one after the other, each for FUZZTIME
	go test -run '^$$' -fuzz '^FuzzHTTPBody$$' -fuzztime $(FUZZTIME) ./bot
	go test -run '^$$' -fuzz '^FuzzInteraction$$' -fuzztime $(FUZZTIME) ./bot
	go test -run '^$$' -fuzz '^FuzzSlashText$$' -fuzztime $(FUZZTIME) ./bot
	go test -run '^$$' -fuzz '^FuzzOpen$$' -fuzztime $(FUZZTIME) ./internal/reference

faults: ## the fault suite at length: APPROVALS=200, and SEED=… to have a run again
	go test ./e2e -run '^TestFaults$$' -count=1 -v -timeout 60m -faults.approvals=$(or $(APPROVALS),200) $(if $(SEED),-faults.seed=$(SEED))

screenshots: ## the README's picture, docs/demo.png, and those of the cards, docs/cards; needs chromium
	go test ./e2e -count=1 -run 'Screenshots$$' -screenshots -v
