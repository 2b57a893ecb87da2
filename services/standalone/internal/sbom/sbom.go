// Package sbom reads out of an image's files what is in it: the Go modules of its programs and the Debian packages
// whose libraries it holds, with their versions and licences. It knows where deploy/docker/notices.sh leaves them, and
// writes a CycloneDX document or a list for people.
package sbom

import (
	"archive/tar"
	"bufio"
	"bytes"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
)

// Kind of a component.
type Kind string

// The kinds, as package URLs have them.
const (
	Go     Kind = "golang"
	Debian Kind = "deb"
)

// Component is a module or a package.
type Component struct {
	Kind          Kind
	Name, Version string
	Licences      []string // sorted; SPDX identifiers where they could be told, else the packager's words
}

// Where notices.sh leaves things.
const (
	packages   = "var/lib/dpkg/status.d/"
	copyrights = "usr/share/doc/"
	licences   = "licenses/"

	own     = "github.com/framebus/framebus/"
	maxFile = 256 << 20
)

// Read takes a container's files as `docker export` writes them.
func Read(r io.Reader) ([]Component, error) {
	found := map[string]Component{}
	texts := map[string][]string{} // module@version → its licences
	debian := map[string][]string{}
	for files := tar.NewReader(r); ; {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read the image: %w", err)
		}
		name := strings.TrimPrefix(h.Name, "./")
		under := func(dir string) bool { return strings.HasPrefix(name, dir) }
		// Programs are at the top.
		told := under(packages) || under(copyrights) || under(licences) || !strings.Contains(name, "/")
		if h.Typeflag != tar.TypeReg || !told {
			continue
		}
		b, err := io.ReadAll(io.LimitReader(files, maxFile))
		if err != nil {
			return nil, fmt.Errorf("read %s of the image: %w", name, err)
		}
		switch {
		case under(packages):
			c := debianPackage(b)
			found[c.Name] = c
		case under(copyrights):
			debian[path.Base(path.Dir(name))] = debianLicences(b)
		case under(licences):
			module := path.Dir(strings.TrimPrefix(name, licences))
			if l := identify(string(b)); l != "" && !slices.Contains(texts[module], l) {
				texts[module] = append(texts[module], l)
			}
		default:
			for _, c := range modules(b) {
				found[c.Name+"@"+c.Version] = c
			}
		}
	}
	out := slices.Collect(maps.Values(found))
	for i, c := range out {
		if c.Kind == Debian {
			out[i].Licences = debian[c.Name]
		} else if c.Licences == nil {
			out[i].Licences = slices.Sorted(slices.Values(texts[c.Name+"@"+c.Version]))
		}
	}
	slices.SortFunc(out, func(a, b Component) int {
		return strings.Compare(string(b.Kind)+a.Name+a.Version, string(a.Kind)+b.Name+b.Version)
	})
	return out, nil
}

// modules that a program was built of; none where it is no Go program. The project's own are not third parties.
func modules(program []byte) []Component {
	info, err := buildinfo.Read(bytes.NewReader(program))
	if err != nil {
		return nil
	}
	out := []Component{{Kind: Go, Name: "std", Version: strings.TrimPrefix(info.GoVersion, "go"),
		Licences: []string{"BSD-3-Clause"}}}
	for _, d := range info.Deps {
		if d.Replace == nil && !strings.HasPrefix(d.Path, own) {
			out = append(out, Component{Kind: Go, Name: d.Path, Version: d.Version})
		}
	}
	return out
}

// debianPackage reads a record of dpkg.
func debianPackage(record []byte) Component {
	c := Component{Kind: Debian}
	for lines := bufio.NewScanner(bytes.NewReader(record)); lines.Scan(); {
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch field {
		case "Package":
			c.Name = value
		case "Version":
			c.Version = value
		}
	}
	return c
}

// debianLicences are the names that a machine-readable copyright file gives. Older ones are prose, and have none.
func debianLicences(copyright []byte) []string {
	names := map[string]bool{}
	lines := bufio.NewScanner(bytes.NewReader(copyright))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if name, ok := strings.CutPrefix(lines.Text(), "License: "); ok {
			names[strings.TrimSpace(name)] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// identify tells a licence by words that stand in no other.
func identify(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	has := func(s string) bool { return strings.Contains(text, s) }
	bsd := has("Redistribution and use in source and binary forms")
	switch {
	case has("Apache License") && has("Version 2.0"):
		return "Apache-2.0"
	case has("Mozilla Public License") && has("2.0"):
		return "MPL-2.0"
	case has("Permission is hereby granted, free of charge"):
		return "MIT"
	case has("Permission to use, copy, modify, and/or distribute"), has("Permission to use, copy, modify, and distribute"):
		return "ISC"
	case bsd && (has("Neither the name") || has("may not be used to endorse")):
		return "BSD-3-Clause"
	case bsd:
		return "BSD-2-Clause"
	}
	return ""
}
