# Everything that a fresh machine needs is fetched by these targets: Go is all that they start from.

GOFUMPT      := go run mvdan.cc/gofumpt@v0.12.0
STATICCHECK  := go run honnef.co/go/tools/cmd/staticcheck@v0.8.2
WORKFLOWCHECK := go run go.temporal.io/sdk/contrib/tools/workflowcheck@v0.6.0
GOVULNCHECK  := go run golang.org/x/vuln/cmd/govulncheck@v1.9.0

# The race detector needs a C compiler; without one the tests run all the same.
RACE := $(if $(shell command -v $${CC:-gcc}),-race)

# The tools of what is in deploy/, and of the release. They are large: to build them takes minutes, once.
HELM            := go run helm.sh/helm/v4/cmd/helm@v4.3.1
KUBECTLVALIDATE := go run sigs.k8s.io/kubectl-validate@v0.0.4
PROMTOOL        := go run github.com/prometheus/prometheus/cmd/promtool@v0.316.0
ACTIONLINT      := go run github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
GORELEASER      := go run github.com/goreleaser/goreleaser/v2@v2.15.1
CHART           := deploy/helm/countersign

.PHONY: build test check deploy-check bench vuln screenshots fuzz faults

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

deploy-check: ## the chart, the alerts, the workflows and the release's configuration, by their own tools
	@set -e; dir="$$(mktemp -d)"; trap 'rm -rf "$$dir"' EXIT; \
	for values in $(CHART)/ci/*-values.yaml; do \
		$(HELM) lint --strict --quiet -f "$$values" $(CHART); \
		$(HELM) template test $(CHART) -f "$$values" --set monitoring.podMonitor.enabled=false > "$$dir/$$(basename "$$values")"; \
	done; \
	$(KUBECTLVALIDATE) "$$dir"
	$(PROMTOOL) check rules deploy/prometheus/alerts.yaml
	$(PROMTOOL) test rules deploy/prometheus/alerts_test.yaml
	$(ACTIONLINT)
	@if git remote get-url origin >/dev/null 2>&1; then $(GORELEASER) check; else \
		echo "not checked: .goreleaser.yaml, for goreleaser asks for a remote named origin"; fi

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
