package sbom

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func image(t *testing.T, files map[string]string) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, text := range files {
		require.NoError(t, w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text))}))
		_, err := w.Write([]byte(text))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return &b
}

func TestAnImageTellsItsModulesAndPackages(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	program, err := os.ReadFile(self)
	require.NoError(t, err)
	list, err := Read(image(t, map[string]string{
		"healthy":                                         string(program), // a Go program, as all tests are
		"var/lib/dpkg/status.d/libx1":                     "Package: libx1\nStatus: installed\nVersion: 1:2.3+dfsg-4\n",
		"usr/share/doc/libx1/copyright":                   "Files: *\nLicense: GPL-2+\n text\n\nLicense: LGPL-2.1\n",
		"licenses/github.com/stretchr/testify@v0/LICENSE": "MIT License\nPermission is hereby granted, free of charge, to",
		"etc/hostname":                                    "not looked at",
	}))
	require.NoError(t, err)
	byName := map[string]Component{}
	for _, c := range list {
		byName[c.Name] = c
	}
	require.Equal(t, Component{
		Kind: Debian, Name: "libx1", Version: "1:2.3+dfsg-4", Licences: []string{"GPL-2+", "LGPL-2.1"},
	}, byName["libx1"])
	require.Contains(t, byName, "std")
	require.NotContains(t, byName, "etc/hostname")

	var b bytes.Buffer
	require.NoError(t, CycloneDX(&b, "framebus/capture:dev", list))
	var document struct{ Components []struct{ Name, PURL string } }
	require.NoError(t, json.Unmarshal(b.Bytes(), &document))
	require.Len(t, document.Components, len(list))
	require.Contains(t, b.String(), `"pkg:deb/debian/libx1@1:2.3%2Bdfsg-4?distro=debian-12"`)
}

func TestLicencesAreToldByTheirWords(t *testing.T) {
	for text, want := range map[string]string{
		"Apache License\n   Version 2.0, January 2004":                          "Apache-2.0",
		"Permission is hereby granted, free of\ncharge, to any person":          "MIT",
		"Redistribution and use in source and binary forms … Neither the name":  "BSD-3-Clause",
		"Redistribution and use in source and binary forms are permitted":       "BSD-2-Clause",
		"Permission to use, copy, modify, and distribute this software for any": "ISC",
		"Mozilla Public License Version 2.0":                                    "MPL-2.0",
		"All rights reserved.":                                                  "",
	} {
		require.Equal(t, want, identify(text), text)
	}
}
