# make demo, make demo-down, make test, make test-matrix, make lint, make bench, make docs, make release: see README.md and CONTRIBUTING.md.
SHELL := /bin/bash
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
# The distribution's where it is new enough: what else is on the PATH may be built without optimisation, and every test takes twice as long.
PYTHON ?= $(shell /usr/bin/python3 -c '$(NEW_ENOUGH)' 2>/dev/null && echo /usr/bin/python3 || echo python3)
VENV := build/venv
BIN := $(VENV)/bin
COLLECTIONS := build/collections/ansible_collections
ETCD := build/etcd/usr/bin/etcd
SERVICES := build/services/usr/sbin/NetworkManager
UFW := build/ufw/usr/sbin/ufw
FIREWALLD := build/firewalld/usr/sbin/firewalld
SSH := build/ssh/usr/sbin/sshd
CONTAINERD := build/containerd/usr/bin/containerd
# Any other Chromium or Chrome will do, where the distribution has no such package: make test CHROMIUM=/usr/bin/google-chrome.
CHROMIUM ?= $(CURDIR)/build/chromium/usr/lib/chromium/chromium-headless-shell
DEBIAN_PACKAGES := containernetworking-plugins dbus iproute2 iptables iputils-ping kmod nftables openssl procps python3-apt python3-venv shellcheck strace systemd util-linux

export PATH := $(CURDIR)/$(BIN):/usr/sbin:/sbin:$(PATH)
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
export MYPYPATH := build/collections
export CHROMIUM

.PHONY: all setup bench demo demo-down docs lint release screenshots test test-matrix

all: demo

# --- set-up -----------------------------------------------------------------

setup: build/packages.done $(VENV)/done $(COLLECTIONS)/done $(ETCD) $(SERVICES) $(CONTAINERD) $(UFW) $(FIREWALLD) $(SSH)

build/packages.done: Makefile
	@mkdir -p build
	@tests/packages.sh $(DEBIAN_PACKAGES)
	@touch $@

# This Python is the lab nodes' as well, where a module of Ansible's comes as source in an archive: with `ansible` imported at the start
# (site, .pth), it takes the same code from here, compiled, for three fifths of the CPU time.
$(VENV)/done: requirements.txt | build/packages.done
	@echo "Installing the Python packages of requirements.txt into $(VENV) ..."
	@$(PYTHON) -c '$(NEW_ENOUGH)' || { echo "$(PYTHON) is older than Python 3.11: name a newer one, as in make PYTHON=python3.12." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements.txt
	@echo 'import ansible' >"$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/ansible.pth"
	@touch $@

# The collections that ours depends on, out of the `ansible` package, beside a link to this checkout. Of community.general, which has 600
# modules, only the one that is used.
GENERAL := MANIFEST.json meta/runtime.yml plugins/doc_fragments/attributes.py plugins/modules/ufw.py
WANTED := ansible/posix/ kubernetes/core/ $(addprefix community/general/,$(GENERAL))
$(COLLECTIONS)/done: requirements-collections.txt $(VENV)/done
	@rm -rf build/wheels
	@mkdir -p $(COLLECTIONS)/podnet build/wheels
	@$(BIN)/pip download --quiet --disable-pip-version-check --no-deps --dest build/wheels --requirement requirements-collections.txt
	@$(BIN)/python -c 'import sys, zipfile; wheel = zipfile.ZipFile(sys.argv[1]); wanted = tuple(f"ansible_collections/{name}" for name in sys.argv[2:]); wheel.extractall("build/collections", [name for name in wheel.namelist() if name.startswith(wanted)])' build/wheels/ansible-*.whl $(WANTED)
	@ln -sfn ../../../.. $(COLLECTIONS)/podnet/baremetal
	@touch $@

# For the tests of the ledger in etcd, which start it themselves: unpacked, not installed, so that no service starts here.
$(ETCD): | build/packages.done
	@tests/unpack.sh etcd-server build/etcd

# For nodes that boot: what manages networks on machines of other people.
$(SERVICES): | build/packages.done
	@tests/unpack.sh 'dhcpcd network-manager udev' build/services

# For the tests of the role cni, which ask it what it has read.
$(CONTAINERD): | build/packages.done
	@tests/unpack.sh containerd build/containerd

# For the tests of nodes that have them; installed, they would be on this machine.
$(UFW): | build/packages.done
	@tests/unpack.sh ufw build/ufw

# For the tests of the report's page, and no part of `make setup`: it is 96 MB to fetch.
$(CHROMIUM): | build/packages.done
	@tests/unpack.sh 'chromium-headless-shell fonts-dejavu-core fonts-inter' build/chromium

$(FIREWALLD): | build/packages.done
	@tests/unpack.sh 'firewalld polkitd' build/firewalld

# For the test of a node that is managed by ssh.
$(SSH): | build/packages.done
	@tests/unpack.sh 'openssh-client openssh-server' build/ssh

# --- tests ------------------------------------------------------------------

# Two files at a time, since each has nodes of its own, in the order of tests/conftest.py. Ends with one line: N passed, N failed.
test: setup $(CHROMIUM)
	@$(BIN)/python -m pytest --numprocesses=2 --dist=loadfile --no-loadscope-reorder

# The integration and molecule tests under the oldest, a middle and the newest ansible-core, and nodes with the oldest to the newest Python
# and pyroute2; it takes an hour. CORES='2.16.0 2.21.5', TARGETS='3.9 3.13' and TESTS=tests/matrix/targets.py narrow it.
test-matrix: setup $(CHROMIUM)
	@$(BIN)/python tests/matrix/matrix.py $(if $(CORES),--cores $(CORES)) $(if $(TARGETS),--targets $(TARGETS)) $(if $(TESTS),--tests $(TESTS))

# The linters, the types, and the rules of the design.
lint: setup
	@$(BIN)/python -m pytest tests/lint

# The pictures of the report's page in docs/images.
screenshots: setup $(CHROMIUM)
	@PYTHONPATH=build/collections:tests/integration $(BIN)/python tests/integration/screenshots.py

# What a run costs beside what it is compared with, as a table and as build/bench.json. ROWS='no-op|one peer' measures only those, RUNS=1 once.
bench: setup
	@PYTHONPATH=build/collections:tests/integration ROWS='$(ROWS)' RUNS='$(RUNS)' $(BIN)/python tests/bench/bench.py

# --- the demonstration --------------------------------------------------------

PLAYBOOK := ansible-playbook --inventory inventories/lab

# Three nodes on this machine, their pod network from the inventory, the second run that changes nothing, and pods that reach each other.
demo: setup
	@$(PLAYBOOK) playbooks/lab_up.yml
	@$(PLAYBOOK) playbooks/site.yml
	@echo "The same again: nothing is left to change."
	@$(PLAYBOOK) playbooks/site.yml
	@$(PLAYBOOK) playbooks/demo.yml
	@cat build/demo.txt
	@! grep --quiet "NO ANSWER" build/demo.txt
	@echo "Look around: build/venv/bin/ansible all -m ansible.builtin.command -a 'ip -d route'. Take it away: make demo-down."

demo-down: setup
	@$(PLAYBOOK) playbooks/lab_down.yml
	@rm -f build/lab-ledger.json build/demo.txt

# --- the documentation --------------------------------------------------------

SITE := build/docs

# The pages of docs/ and the roles, and every plugin, as one site: build/docs/html/index.html. The pages lie as in the checkout, for their links.
docs: setup
	@rm -rf $(SITE)
	@mkdir -p -m 755 $(SITE)/source/reference
	@cp --recursive docs README.md CONTRIBUTING.md LICENSE docs/site/. $(SITE)/source
	@rm -r $(SITE)/source/docs/site
	@for page in roles/*/README.md; do install -D -m 644 $$page $(SITE)/source/$$page; done
	@ANSIBLE_CONFIG= ANSIBLE_COLLECTIONS_PATH=build/collections antsibull-docs collection --use-current --squash-hierarchy --fail-on-error \
		--dest-dir $(SITE)/source/reference podnet.baremetal
	@sphinx-build --quiet --fail-on-warning --keep-going --builder html $(SITE)/source $(SITE)/html
	@echo "Read it: $(SITE)/html/index.html"

# --- a release ----------------------------------------------------------------

VERSION := $(shell sed -n 's/^version: //p' galaxy.yml)
RELEASE := build/release
ARCHIVE := $(RELEASE)/podnet-baremetal-$(VERSION).tar.gz
INSTALLED := $(RELEASE)/collections/ansible_collections
# As on a machine that has no checkout, with nodes beside those of the demonstration.
RELEASED := cd $(RELEASE) && env --unset=ANSIBLE_CONFIG ANSIBLE_COLLECTIONS_PATH=$(CURDIR)/$(RELEASE)/collections ANSIBLE_PIPELINING=true \
	ANSIBLE_INVENTORY_ENABLED=podnet.baremetal.lab PODNET_LAB_DIRECTORY=/run/podnet-release ansible-playbook --inventory lab \
	--extra-vars podnet_ledger=$(CURDIR)/$(RELEASE)/ledger.json --extra-vars verify_report_directory=$(CURDIR)/$(RELEASE)/verification

# The archive of what is committed, with its changelog; and the demonstration by the collection that was installed from it.
release: setup
	@rm -rf $(RELEASE)
	@mkdir -p $(INSTALLED)
	@git clone --quiet . $(RELEASE)/tree
	@cd $(RELEASE)/tree && { [ ! -d changelogs/fragments ] || antsibull-changelog release; } && antsibull-changelog lint
	@ansible-galaxy collection build --output-path $(RELEASE) $(RELEASE)/tree
	@ln -s $(addprefix $(CURDIR)/$(COLLECTIONS)/,ansible community kubernetes) $(INSTALLED)
	@ansible-galaxy collection install --force --offline --no-deps --collections-path $(RELEASE)/collections $(ARCHIVE)
	@cp -r $(INSTALLED)/podnet/baremetal/inventories/lab $(RELEASE)
	@trap 'cd $(CURDIR) && $(RELEASED) podnet.baremetal.lab_down' EXIT; set -e -o pipefail; for play in lab_up site site verify; do \
		$(RELEASED) podnet.baremetal.$$play | tee $$play.txt; cd $(CURDIR); \
	done
	@! grep --quiet 'changed=[^0]' $(RELEASE)/site.txt
	@grep --quiet 'Everything that was tested is as it should be' $(RELEASE)/verify.txt
	@echo "$(ARCHIVE) is what its users get. It was installed and tried."
