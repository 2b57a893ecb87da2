package sbom

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// purl is the package URL of a component.
func (c *Component) purl() string {
	if c.Kind == Debian {
		return fmt.Sprintf("pkg:deb/debian/%s@%s?distro=debian-12", c.Name, strings.ReplaceAll(c.Version, "+", "%2B"))
	}
	return fmt.Sprintf("pkg:golang/%s@%s", c.Name, strings.ReplaceAll(c.Version, "+", "%2B"))
}

type licence struct {
	License struct {
		Name string `json:"name"`
	} `json:"license"`
}

type component struct {
	Type     string    `json:"type"`
	Name     string    `json:"name"`
	Version  string    `json:"version"`
	PURL     string    `json:"purl,omitempty"`
	Licences []licence `json:"licenses,omitempty"`
}

// CycloneDX writes a bill of materials of an image, the same for the same image.
func CycloneDX(w io.Writer, image string, list []Component) error {
	name, version, _ := strings.Cut(image, ":")
	components := []component{}
	for _, c := range list {
		out := component{Type: "library", Name: c.Name, Version: c.Version, PURL: c.purl()}
		for _, l := range c.Licences {
			var one licence
			one.License.Name = l
			out.Licences = append(out.Licences, one)
		}
		components = append(components, out)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	e.SetEscapeHTML(false)
	return e.Encode(map[string]any{
		"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
		"metadata":   map[string]any{"component": component{Type: "container", Name: name, Version: version}},
		"components": components,
	})
}

// List writes the components for people, one a row of a table, without versions: those change with every update.
func List(w io.Writer, list []Component) error {
	for _, c := range list {
		licences := strings.Join(c.Licences, ", ")
		if licences == "" {
			licences = "see its copyright file"
		}
		if _, err := fmt.Fprintf(w, "| %s | %s |\n", c.Name, licences); err != nil {
			return err
		}
	}
	return nil
}
