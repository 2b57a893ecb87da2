package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"text/tabwriter"

	"github.com/framebus/framebus/services/client"
)

type streams struct {
	URL  string `arg:"" help:"Gateway: http://HOST:PORT."`
	JSON bool   `name:"json" help:"Print JSON instead of a table."`
}

// Run is kong's: it lists a gateway's streams.
func (s *streams) Run(ctx context.Context) error {
	if err := checkURL(s.URL); err != nil {
		return err
	}
	list, err := client.Question{URL: s.URL}.Streams(ctx)
	if err != nil {
		return err
	}
	if s.JSON {
		if list == nil {
			list = []client.StreamInfo{} // none is a list too
		}
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		return e.Encode(list)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "STREAM\tSTATE\tSIZE\tFPS\tVIEWERS\tSOURCE\tCAUSE")
	for _, i := range list {
		fmt.Fprintf(w, "%s\t%s\t%d×%d\t%.1f\t%d\t%s\t%s\n",
			i.Name, i.State, i.Width, i.Height, i.FPS, i.Viewers, i.Source, i.Cause)
	}
	return w.Flush()
}

type snapshot struct {
	URL    string `arg:"" help:"Gateway: http://HOST:PORT."`
	Stream string `help:"Default: the gateway's first."`
	Out    string `short:"o" help:"File to write; default: STREAM.jpg; - is standard output."`
	Force  bool   `help:"Replace a file that is there."`
}

// Run is kong's: it writes one picture.
func (s *snapshot) Run(ctx context.Context) error {
	if err := checkURL(s.URL); err != nil {
		return err
	}
	q := client.Question{URL: s.URL}
	if s.Stream == "" {
		list, err := q.Streams(ctx)
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return fmt.Errorf("the gateway knows no stream yet; is a capture running? framebus streams %s", s.URL)
		}
		s.Stream = list[0].Name
	}
	b, err := q.Snapshot(ctx, s.Stream)
	if err != nil {
		return err
	}
	switch s.Out {
	case "-":
		_, err = os.Stdout.Write(b)
		return err
	case "":
		s.Out = s.Stream + ".jpg"
	}
	if err := write(s.Out, b, s.Force); err != nil {
		return err
	}
	fmt.Println(s.Out)
	return nil
}

// write makes a file, and another one's place is taken only by force.
func write(path string, b []byte, force bool) error {
	flags := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if force {
		flags = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	f, err := os.OpenFile(path, flags, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Close())
}
