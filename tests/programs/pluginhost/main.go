// Loads the plugin whose path it reads, when it reads one, and says so.
package main

import (
	"bufio"
	"fmt"
	"os"
	"plugin"
)

func main() {
	fmt.Println("ready")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		loaded, err := plugin.Open(lines.Text())
		if err != nil {
			fmt.Println(err)
			continue
		}
		answer, err := loaded.Lookup("Answer")
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(answer.(func() int)())
	}
}
