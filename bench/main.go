// Command bench compares oidcrp with a careful sign-in written by hand on go-oidc,
// x/oauth2 and gorilla/securecookie or alexedwards/scs. It measures each of them in
// processes of its own, in turn and several times, prints the medians and their ratios,
// and writes them into docs/performance.md:
//
//	go run .
//	go run . -docs ""      # prints only
//	go run . -only login   # prints one part: served, in-process, login or memory
//	go run . -smoke        # one short run, which proves that everything works
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"
)

func main() {
	if played, err := play(); played {
		if err != nil {
			log.Fatal(err)
		}
		return
	}
	size := fullSize
	flag.IntVar(&size.runs, "runs", size.runs, "how often each row is measured")
	smoke := flag.Bool("smoke", false, "measure each row once with few requests, and write nothing")
	docs := flag.String("docs", "../docs/performance.md", "the `file` to write the tables into; empty: print only")
	only := flag.String("only", "", "measure and print this `part`: served, in-process, login or memory")
	flag.Parse()
	if *smoke {
		size, *docs = smokeSize, ""
	}
	if *only != "" {
		*docs = ""
	}
	if err := compare(size, *only, *docs); err != nil {
		log.Fatal(err)
	}
}

// compare measures everything, or only one part, prints it, and writes the tables into the
// file docs if it has a name.
func compare(size size, only, docs string) error {
	if docs != "" {
		if _, err := os.Stat(docs); err != nil {
			return err // rather now than after the measurements
		}
	}
	end, err := useCertificate()
	if err != nil {
		return err
	}
	defer end()
	results, err := measureAll(size, only, os.Stdout)
	if err != nil {
		return err
	}
	tables := results.tables(time.Now())
	fmt.Println(tables)
	if docs == "" {
		return nil
	}
	return writeTables(docs, tables)
}

// useCertificate makes this process and its children trust the provider's certificate
// through the environment, so that each side keeps its own default transport.
func useCertificate() (end func(), err error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	os.Setenv(certificateVariable, filepath.Join(dir, "provider.pem"))
	return func() { os.RemoveAll(dir) }, nil
}
